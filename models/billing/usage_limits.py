"""The limits of plans, and what a tenant is told when it has reached one."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from models.billing.usage_windows import Window
from models.platform.clock import iso, now
from models.platform.database import database, in_transaction
from models.platform.errors import DomainError, RateLimited
from models.runs.holds import Reached
from models.runs.usage import INPUT_TOKENS, MESSAGES, OUTPUT_TOKENS

UNITS = {MESSAGES: "messages", INPUT_TOKENS: "tokens", OUTPUT_TOKENS: "tokens"}
LEVEL_RETRY_SECONDS = 60  # a level falls when something is deleted
LIMITS = """
select plan_code, feature, unit, soft_limit, hard_limit, is_metered, display_name from plan_limit
where %(plan)s::text is null or plan_code = %(plan)s order by plan_code, feature"""
SET_LIMIT = """
insert into plan_limit (plan_code, feature, unit, soft_limit, hard_limit)
values (%(plan)s, %(feature)s, %(unit)s, %(soft)s, %(hard)s)
on conflict (plan_code, feature) do update
    set unit = excluded.unit, soft_limit = excluded.soft_limit, hard_limit = excluded.hard_limit"""


class Limit(NamedTuple):
    """A limit of a plan. `soft` and `hard`: None for no limit. `is_metered`: it counts by window, otherwise it is a level."""

    plan_code: str
    feature: str
    unit: str
    soft: int | None
    hard: int | None
    is_metered: bool = True
    display_name: str | None = None


class UsageLimitExceeded(RateLimited):
    code = "usage_limit_exceeded"
    is_detail = True

    def __init__(self, tenant_id: UUID, limits: Sequence[Limit], reached: Sequence[Reached], window: Window) -> None:
        """`reached`: the limits that refuse, at least one, in the order of `limits`."""
        of = {limit.feature: limit for limit in limits}
        breaches = [_breach(of[one.feature], one, window) for one in reached]
        first = breaches[0]
        text = f"The plan's limit of {first['limit_value']} {first['unit']} is reached."
        if first["window_end"]:
            text += f" It starts again at {first['window_end']}."
        super().__init__(
            text,
            retry_after=round((window.end - now()).total_seconds()) + 1 if first["window_end"] else LEVEL_RETRY_SECONDS,
            details={
                "code": self.code,
                "message": text,
                "tenant_id": str(tenant_id),
                "plan_code": limits[0].plan_code,
                **first,
                "breaches": breaches,
            },
        )


class NoUsagePolicy(DomainError):
    """The tenant has no subscription, so nothing says what it may use."""

    status, code, is_detail = 402, "usage_policy_configuration_error", True
    message = "There is no subscription. Start one to go on."

    def __init__(self, tenant_id: UUID) -> None:
        super().__init__(details={"code": self.code, "message": self.message, "tenant_id": str(tenant_id)})


class SubscriptionInactive(DomainError):
    status, code, is_detail = 402, "subscription_inactive", True
    message = "The subscription is not active."

    def __init__(self, tenant_id: UUID, status: str, until: datetime | None = None) -> None:
        text = f"The subscription is not active: it is {status}."
        if until is not None:
            text = f"A payment has failed, and its time has passed at {iso(until)}."
        details = {"code": self.code, "message": text, "tenant_id": str(tenant_id), "subscription_status": status}
        super().__init__(text, details=details)


@in_transaction
def set_limit(plan: str, feature: str, *, soft: int | None, hard: int | None) -> None:
    """Set a limit of a plan. It counts as soon as what is remembered of its tenants has expired."""
    values = {"plan": plan, "feature": feature, "unit": UNITS[feature], "soft": soft, "hard": hard}
    database.execute_prepared(SET_LIMIT, values)


def of_plans(plan: str | None = None) -> list[Limit]:
    """The limits of one plan, or of all plans."""
    return [Limit._make(row) for row in database.execute_prepared(LIMITS, {"plan": plan}).fetchall()]


def _breach(limit: Limit, reached: Reached, window: Window) -> dict[str, Any]:
    return {
        "feature_key": reached.feature,
        "limit_type": reached.kind,
        "limit_value": reached.limit,
        "usage": reached.used,
        "unit": limit.unit,
        "window_start": iso(window.start) if limit.is_metered else None,
        "window_end": iso(window.end) if limit.is_metered else None,
    }
