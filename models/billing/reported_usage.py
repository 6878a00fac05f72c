"""Usage that was not counted here: reported by a caller of the API, or corrected by an operator."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from models.billing.subscription import Subscription
from models.platform import audit
from models.platform.clock import iso, now
from models.platform.database import Json, database, in_transaction
from models.platform.errors import Conflict, DomainError, NotFound
from models.platform.ids import uuid7
from models.runs import holds, usage

MOST = 10**12  # of one report
OLDEST = timedelta(days=34)  # Stripe's meters take what is at most 35 days old
AHEAD = timedelta(minutes=5)  # that clocks may differ
IS_METERED = "select is_metered from plan_limit where plan_code = %(plan)s and feature = %(feature)s"
EARLIER = """
select quantity, details from usage_entry
where tenant_id = %(tenant_id)s and source = %(source)s and feature = %(feature)s and number = 0"""
ADD = """
with metered as (
    insert into usage_entry (tenant_id, source, feature, quantity, used_at, details)
    values (%(tenant_id)s, %(source)s, %(feature)s, %(quantity)s, %(used_at)s, %(details)s)
    on conflict do nothing returning tenant_id, feature, used_at, quantity
), unfolded as ({tail})
select count(*) from metered"""
ADD = ADD.replace("{tail}", usage.TAIL)


class NoActiveSubscription(NotFound):
    code = "subscription_not_found"

    def __init__(self, tenant_id: UUID) -> None:
        super().__init__(f"Tenant '{tenant_id}' does not have an active subscription.")


class NotAtProcessor(Conflict):
    code, message = "subscription_unconfirmed", "Subscription is missing processor identifier."


class SubscriptionEnded(Conflict):
    code, message = "subscription_ended", "The subscription has ended."


class FeatureNotFound(NotFound):
    code = "feature_not_found"

    def __init__(self, feature: str) -> None:
        super().__init__(f"Feature '{feature[:64]}' not found.")


class PeriodInvalid(DomainError):
    status, code = 422, "usage_period_invalid"


class KeyUsed(Conflict):
    code, message = "idempotency_conflict", "This idempotency key was used with other values."


@in_transaction
def report(
    tenant_id: UUID,
    actor: str,
    feature: str,
    quantity: int,
    *,
    key: str | None = None,
    period_start: datetime | None = None,
    period_end: datetime | None = None,
) -> bool:
    """Count usage of a metered feature. It counts at the end of its period, else at its start, else now.

    `key`: of this report, within tenant and feature. False if it was counted before, with the same values. Raises
    NoActiveSubscription, SubscriptionEnded, NotAtProcessor, FeatureNotFound, PeriodInvalid or KeyUsed.
    """
    subscription = _require_subscription(tenant_id)
    row = database.execute_prepared(IS_METERED, {"plan": subscription.plan_code, "feature": feature}).fetchone()
    if row is None or not row[0]:
        raise FeatureNotFound(feature)
    period = {
        "period_start": iso(period_start) if period_start else None,
        "period_end": iso(period_end) if period_end else None,
    }
    source = f"api:{key or uuid7()}"
    if key and _is_counted(tenant_id, source, feature, quantity, period):
        return False
    used_at = _time(period_start, period_end)
    if not _add(tenant_id, source, feature, quantity, used_at, {"actor": actor, **period}):
        return not _is_counted(tenant_id, source, feature, quantity, period)  # another request was faster
    return True


@in_transaction
def correct(tenant_id: UUID, actor: str, feature: str, quantity: int, reason: str, used_at: datetime | None) -> str:
    """Add to what a tenant has used, or with a negative quantity take from it. Returns the entry's source. PeriodInvalid.

    What was forwarded to Stripe is corrected there too, for the hour of `used_at` (default: now).
    """
    source = f"operator:{uuid7()}"
    used_at = _time(None, used_at)
    _add(tenant_id, source, feature, quantity, used_at, {"actor": actor, "reason": reason})
    audit.record(
        "usage.correct",
        actor,
        source,
        tenant_id=tenant_id,
        reason=reason,
        feature=feature,
        quantity=quantity,
        used_at=iso(used_at),
    )
    return source


def _require_subscription(tenant_id: UUID) -> Subscription:
    subscription = Subscription.of_tenant(tenant_id)
    if subscription is None:
        raise NoActiveSubscription(tenant_id)
    if subscription.has_ended:
        raise SubscriptionEnded
    if subscription.stripe_subscription_id is None:
        raise NotAtProcessor
    return subscription


def _time(start: datetime | None, end: datetime | None) -> datetime:
    at = now()
    if start is not None and end is not None and end < start:
        raise PeriodInvalid("The period ends before it begins.")
    for time in (start, end):
        if time is not None and time > at + AHEAD:
            raise PeriodInvalid("The period is in the future.")
    used_at = end or start or at
    if used_at < at - OLDEST:
        raise PeriodInvalid(f"Usage can be reported for {OLDEST.days} days.")
    return used_at


def _add(tenant_id: UUID, source: str, feature: str, quantity: int, used_at: datetime, details: dict[str, Any]) -> bool:
    values = {"tenant_id": tenant_id, "source": source, "feature": feature, "quantity": quantity, "used_at": used_at}
    added = database.execute_prepared(ADD, {**values, "details": Json(details)}).fetchone()[0]
    database.after_commit(lambda: holds.forget(tenant_id))
    return bool(added)


def _is_counted(tenant_id: UUID, source: str, feature: str, quantity: int, period: dict[str, Any]) -> bool:
    """Whether the source was counted before. KeyUsed if it was with other values."""
    values = {"tenant_id": tenant_id, "source": source, "feature": feature}
    row = database.execute_prepared(EARLIER, values).fetchone()
    if row is None:
        return False
    if row[0] != quantity or any(row[1].get(name) != value for name, value in period.items()):
        raise KeyUsed
    return True
