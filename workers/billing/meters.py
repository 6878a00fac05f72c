"""Stripe's meters: sending usage, and asking what has arrived."""

from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from models.billing import usage_batches
from models.billing.usage_batches import Batch
from models.platform.database import release
from workers.gateways.stripe import ProviderRejected, call, every

HOUR = timedelta(hours=1)
DUPLICATE = "already exists with identifier"  # Stripe has no code for it in this version of its API


class Arrived(Enum):
    YES, NO = "yes", "no"


def send(batch: Batch) -> None:
    """Send a batch as one meter event. One that Stripe has already counts as sent. ProviderError."""
    event: Any = {
        "event_name": batch.event_name,
        "identifier": str(batch.id),
        "timestamp": int(batch.used_at.timestamp()),
        "payload": {"stripe_customer_id": batch.customer, "value": str(batch.quantity)},
    }
    try:
        call("billing.meter_events.create", lambda stripe: stripe.v1.billing.meter_events.create(event))
    except ProviderRejected as error:
        if error.reason != "duplicate_meter_event" and DUPLICATE not in error.message:
            raise


def has_arrived(batch: Batch) -> Arrived | None:
    """Whether Stripe's sum of the batch's hour holds it. None if that cannot be told yet. ProviderError."""
    meter = usage_batches.meters().get(batch.feature)
    ours = usage_batches.in_hour(batch)
    release()
    if meter is None:
        return None
    total = summed(meter, batch.customer, batch.hour, batch.hour + HOUR)
    if total == ours.sent:
        return Arrived.NO
    return Arrived.YES if total == ours.sent + ours.unsure else None


def summed(meter: str, customer: str, start: datetime, end: datetime) -> int:
    """What a meter has of a customer from `start` to before `end`, which are whole hours. ProviderError.

    Stripe sums up with a delay of minutes.
    """
    bounds = {
        "customer": customer,
        "start_time": int(start.timestamp()),
        "end_time": int(end.timestamp()),
    }

    def page(stripe: Any, parameters: dict[str, Any]) -> Any:
        return stripe.v1.billing.meters.event_summaries.list(meter, {**parameters, **bounds})

    found = every("billing.meters.event_summaries.list", page)
    return sum(round(float(summary["aggregated_value"])) for summary in found)
