"""How much a tenant may use: the limits of its plan, looked at before a run starts.

A run is refused once a hard limit has been reached. What it then uses is counted when it ends, so runs that are under way
together may go beyond a limit, each by what it uses itself.
"""

import logging
import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

from models.platform.clock import iso, now
from models.platform.database import database, in_transaction
from models.platform.errors import RateLimited
from models.platform.settings import settings
from models.runs.usage import INPUT_TOKENS, MESSAGES, OUTPUT_TOKENS

log = logging.getLogger(__name__)
UNITS = {MESSAGES: "messages", INPUT_TOKENS: "tokens", OUTPUT_TOKENS: "tokens"}  # of the features that may be limited
# The limits of the tenant's plan with what it has used since `start`.
USED = """
select plan_limit.plan_code, feature, unit, soft_limit, hard_limit, (
    select coalesce(sum(quantity), 0) from usage_record
    where usage_record.tenant_id = tenant.id and usage_record.feature = plan_limit.feature and created_at >= %(start)s
)
from tenant join plan_limit on plan_limit.plan_code = tenant.plan_code where tenant.id = %(tenant_id)s order by feature"""
LIMITS = "select plan_code, feature, unit, soft_limit, hard_limit from plan_limit order by plan_code, feature"
SET_LIMIT = """
insert into plan_limit (plan_code, feature, unit, soft_limit, hard_limit)
values (%(plan)s, %(feature)s, %(unit)s, %(soft)s, %(hard)s)
on conflict (plan_code, feature) do update
    set unit = excluded.unit, soft_limit = excluded.soft_limit, hard_limit = excluded.hard_limit"""


class Limit(NamedTuple):
    """A limit of a plan, and what a tenant has used of it. `soft` and `hard`: None for no limit."""

    plan_code: str
    feature: str
    unit: str
    soft: int | None
    hard: int | None
    used: int


class UsageLimitExceeded(RateLimited):
    code = "usage_limit_exceeded"
    is_detail = True

    def __init__(self, tenant_id: UUID, limit: Limit, kind: str, start: datetime, end: datetime) -> None:
        value = limit.hard if kind == "hard_limit" else limit.soft
        super().__init__(
            f"The plan's limit of {value} {limit.unit} is reached. It starts again at {iso(end)}.",
            retry_after=round((end - now()).total_seconds()) + 1,
            details={
                "code": self.code,
                "tenant_id": str(tenant_id),
                "plan_code": limit.plan_code,
                "feature_key": limit.feature,
                "limit_type": kind,
                "limit_value": value,
                "usage": limit.used,
                "unit": limit.unit,
                "window_start": iso(start),
                "window_end": iso(end),
            },
        )


def require_within(tenant_id: UUID | None) -> None:
    """UsageLimitExceeded if the tenant has used up what its plan allows in this month. Off without ENABLE_USAGE_GUARDRAILS."""
    if not settings.enable_usage_guardrails or tenant_id is None:
        return
    start, end = window(now())
    seconds = settings.usage_guardrail_cache_ttl_seconds
    read = _remembered if seconds > 0 else _read
    for limit in read(tenant_id, start, int(time.time() / seconds) if seconds > 0 else 0):
        if limit.hard is not None and limit.used >= limit.hard:
            raise UsageLimitExceeded(tenant_id, limit, "hard_limit", start, end)
        if limit.soft is not None and limit.used >= limit.soft:
            if settings.usage_guardrail_soft_limit_mode == "block":
                raise UsageLimitExceeded(tenant_id, limit, "soft_limit", start, end)
            log.warning("usage.soft_limit", extra={"tenant_id": str(tenant_id), "feature": limit.feature})


def window(at: datetime) -> tuple[datetime, datetime]:
    """The calendar month in UTC around a time: its start and its end."""
    start = datetime(at.year, at.month, 1, tzinfo=UTC)
    return start, datetime(at.year + at.month // 12, at.month % 12 + 1, 1, tzinfo=UTC)


@in_transaction
def set_limit(plan: str, feature: str, *, soft: int | None, hard: int | None) -> None:
    """Set a limit of a plan. It counts as soon as what is remembered of its tenants has expired."""
    values = {"plan": plan, "feature": feature, "unit": UNITS[feature], "soft": soft, "hard": hard}
    database.execute_prepared(SET_LIMIT, values)


def of_plans() -> list[Limit]:
    """The limits of all plans; nothing is used of them."""
    return [Limit._make((*row, 0)) for row in database.execute_prepared(LIMITS, {}).fetchall()]


def _read(tenant_id: UUID, start: datetime, period: int) -> list[Limit]:  # noqa: ARG001  (see _remembered)
    rows = database.execute_prepared(USED, {"tenant_id": tenant_id, "start": start}).fetchall()
    return [Limit._make((*row[:5], int(row[5]))) for row in rows]


_remembered = lru_cache(maxsize=10_000)(_read)  # `period` limits how long an answer is kept
