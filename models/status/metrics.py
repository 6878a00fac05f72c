"""Metrics of subscriptions, which the edge and the workers both count."""

from prometheus_client import Counter

SUBSCRIPTIONS = Counter(
    "status_subscriptions_total", "What happened to subscriptions to the status.", ["channel", "event"]
)
EVENTS = ("created", "confirmed", "revoked", "disabled", "purged")
for _channel in ("email", "webhook"):
    for _event in EVENTS:
        SUBSCRIPTIONS.labels(_channel, _event)  # exported as 0 before the first one


def happened(channel: str, event: str, count: int = 1) -> None:
    """`event`: one of EVENTS. Call it after the commit."""
    SUBSCRIPTIONS.labels(channel, event).inc(count)
