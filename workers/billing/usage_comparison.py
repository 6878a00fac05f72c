"""Our sums of a tenant's usage next to those of Stripe's meters."""

from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from models.billing import counters, standing, usage_batches
from models.billing.customers import BillingCustomer
from models.billing.usage_windows import Window
from models.platform.clock import now
from models.platform.database import release
from workers.billing import meters

HOUR = timedelta(hours=1)
SETTLED_SINCE, SETTLED_AFTER = timedelta(days=33), timedelta(hours=3)


class Comparison(NamedTuple):
    """One metered feature. `counted`: in our ledger. `sent`: what Stripe has confirmed. `waiting`: what is on its way.
    `parked`: what cannot be sent. `at_stripe`: what its meter says."""

    feature: str
    counted: int
    sent: int
    waiting: int
    parked: int
    at_stripe: int

    @property
    def is_right(self) -> bool:
        """Whether Stripe has what it has confirmed, or what is on its way as well. Its sums are some minutes late."""
        return self.sent <= self.at_stripe <= self.sent + self.waiting


def compare(tenant_id: UUID, window: Window | None = None) -> list[Comparison]:
    """Whole hours of the window; the default is the present one. Nothing for a tenant that Stripe does not know. ProviderError."""
    customer = BillingCustomer.stripe_id(tenant_id)
    if customer is None:
        return []
    window = _hours(window or standing.read(tenant_id).window)
    counted = counters.totals(tenant_id, window)
    told = usage_batches.told(tenant_id, window)
    known = usage_batches.meters()
    release()
    found = []
    for feature, meter in known.items():
        batches = told.get(feature, {})
        waiting = batches.get("open", 0) + batches.get("sealed", 0)
        total = meters.summed(meter, customer, *window)
        found.append(
            Comparison(
                feature, counted.get(feature, 0), batches.get("sent", 0), waiting, batches.get("parked", 0), total
            )
        )
    return found


def compare_settled(tenant_id: UUID) -> list[Comparison]:
    """The last weeks but the last hours, which Stripe has surely summed up. ProviderError."""
    return compare(tenant_id, Window(now() - SETTLED_SINCE, now() - SETTLED_AFTER))


def _hours(window: Window) -> Window:
    end = min(window.end, now() + HOUR)
    return Window(
        window.start.replace(minute=0, second=0, microsecond=0),
        (end + HOUR - timedelta(microseconds=1)).replace(minute=0, second=0, microsecond=0),
    )
