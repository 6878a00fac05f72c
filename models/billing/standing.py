"""Under which plan a tenant may use what, in which window; or why it may not."""

from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from models.billing import usage_windows
from models.billing.subscription import ACTIVE, ENDED, PAST_DUE, TRIALING
from models.billing.usage_limits import NoUsagePolicy, SubscriptionInactive
from models.billing.usage_windows import Interval, Window
from models.platform.clock import now
from models.platform.database import database
from models.platform.settings import settings

READ = """
select tenant.plan_code, coalesce(usage_guard.generation, 0), own.interval, own.interval_count,
    subscription.status, subscription.plan_code, subscription.starts_at, subscription.current_period_start,
    subscription.current_period_end, subscription.cancel_at, subscription.past_due_since, subscription.updated_at,
    plan.interval, plan.interval_count, subscription.counts_from
from tenant
left join usage_guard on usage_guard.tenant_id = tenant.id
left join plan as own on own.code = tenant.plan_code
left join subscription on subscription.tenant_id = tenant.id
left join plan on plan.code = subscription.plan_code
where tenant.id = %(tenant_id)s"""


class Standing(NamedTuple):
    """`plan_code`: None if nothing is limited. `stamp`: equal for equal standings; numbers that were loaded for another
    are out of date. `status`: of the subscription, None without one. `past_due_until`: when its grace ends."""

    tenant_id: UUID
    plan_code: str | None
    window: Window
    stamp: str
    status: str | None = None
    past_due_until: datetime | None = None

    @property
    def seconds_left(self) -> int:
        """Seconds until the window ends."""
        return max(0, round((self.window.end - now()).total_seconds()))

    @property
    def is_live(self) -> bool:
        """Whether its subscription lets it work: on trial, active, or past due in its time of grace."""
        if self.status == PAST_DUE:
            return self.past_due_until is None or now() < self.past_due_until
        return self.status in (TRIALING, ACTIVE)

    def require_live(self) -> None:
        """NoUsagePolicy or SubscriptionInactive unless the tenant may work."""
        if not settings.enable_billing or self.is_live:
            return
        if self.status is None:
            raise NoUsagePolicy(self.tenant_id)
        raise SubscriptionInactive(
            self.tenant_id, self.status, self.past_due_until if self.status == PAST_DUE else None
        )


def read(tenant_id: UUID, at: datetime | None = None) -> Standing:
    """The standing of a tenant: by its subscription if there is billing, else by its plan and the calendar month."""
    at = at or now()
    row = database.execute_prepared(READ, {"tenant_id": tenant_id}).fetchone()
    if row is None:
        return Standing(tenant_id, None, usage_windows.month(at), "")
    own_plan, generation, *_ = row
    if not settings.enable_billing:
        window = usage_windows.month(at)
        return Standing(tenant_id, own_plan, window, f"{generation}/{own_plan}/{window.start}")
    status, plan, starts_at, start, end, cancel_at, past_due_since, updated_at, name, count, counts_from = row[4:]
    if status is None:
        return Standing(tenant_id, None, usage_windows.month(at), "")
    if cancel_at is not None and cancel_at <= at and status not in ENDED:
        status = "canceled"  # nobody has told us yet
    window = usage_windows.period(start or starts_at, end, Interval(name, count), at)
    if counts_from is not None and window.start == start:
        window = window._replace(start=counts_from)
    until = past_due_since + timedelta(days=settings.billing_grace_days) if past_due_since else None
    return Standing(tenant_id, plan, window, f"{generation}/{plan}/{window.start}/{updated_at}", status, until)
