"""Metrics of subscriptions and fan-outs, which the edge and the workers both count."""

from prometheus_client import Counter

SUBSCRIPTIONS = Counter(
    "status_subscriptions_total", "What happened to subscriptions to the status.", ["channel", "event"]
)
FAN_OUTS = Counter("status_fan_outs_total", "Fan-outs of status alerts that were begun.", ["kind"])
for _kind in ("update", "resend"):
    FAN_OUTS.labels(_kind)
EVENTS = ("created", "confirmed", "revoked", "disabled", "purged")
for _channel in ("email", "webhook"):
    for _event in EVENTS:
        SUBSCRIPTIONS.labels(_channel, _event)  # exported as 0 before the first one


def happened(channel: str, event: str, count: int = 1) -> None:
    """`event`: one of EVENTS. Call it after the commit."""
    SUBSCRIPTIONS.labels(channel, event).inc(count)
