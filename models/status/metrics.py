"""Metrics of subscriptions and fan-outs, which the edge and the workers both count."""

import logging
from collections.abc import Iterable
from uuid import UUID

from prometheus_client import Counter

log = logging.getLogger(__name__)

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


def purged(channels: Iterable[str]) -> None:
    """Count those that were deleted without ever being confirmed."""
    for channel in channels:
        SUBSCRIPTIONS.labels(channel, "purged").inc()


def happened(channel: str, event: str, subscription_id: UUID) -> None:
    """Count and log one of EVENTS. Call it after the commit."""
    SUBSCRIPTIONS.labels(channel, event).inc()
    extra = {"what": event, "channel": channel, "subscription_id": str(subscription_id)}
    log.info("status.subscription", extra=extra)
