"""Tells tenants when they come near a limit of their plan, and when they reach it: once in a window."""

from collections.abc import Iterable
from uuid import UUID

from models.billing import events, notices, usage_totals
from models.billing.usage_totals import FeatureTotal, Totals
from models.platform.database import in_transaction, transaction
from models.platform.settings import settings

REACHED = "longshore.usage.limit_reached"  # the type of the event
PERCENTS = (100, 80)


def tell_limits(tenant_ids: Iterable[UUID]) -> int:
    """Look at what these tenants have used so far. Returns how many notices are new."""
    if not settings.enable_usage_guardrails:
        return 0
    found = 0
    for tenant_id in tenant_ids:
        totals = usage_totals.of_tenant(tenant_id)  # of one that was deleted meanwhile: nothing
        if any(percent_of(total) for total in totals.features):
            with transaction():
                found += _tell(tenant_id, totals)
    return found


def percent_of(total: FeatureTotal) -> int | None:
    """The highest of PERCENTS that is used of the hard limit, or without one of the soft limit."""
    limit = _limit(total)
    if not limit:  # nothing of a limit of 0 can be used
        return None
    return next((percent for percent in PERCENTS if 100 * total.used >= percent * limit), None)


@in_transaction
def _tell(tenant_id: UUID, totals: Totals) -> int:
    found = 0
    for total in totals.features:
        percent, limit = percent_of(total), _limit(total)
        if percent is None or limit is None:
            continue
        if notices.limit_reached(tenant_id, total.feature, percent, totals.window, used=total.used, limit=limit):
            found += 1
            if settings.enable_billing:
                summary = f"{percent} % of the limit of {total.feature} is used: {total.used} of {limit}"
                events.record(tenant_id, REACHED, status=f"limit_{percent}", summary=summary)
    return found


def _limit(total: FeatureTotal) -> int | None:
    if total.limit is None or not total.limit.is_metered:
        return None
    return total.limit.soft if total.limit.hard is None else total.limit.hard
