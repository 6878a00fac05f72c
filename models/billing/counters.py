"""Sums of the usage ledger. Postgres folds entries into counters by hour, in batches: nobody waits for a counter's row.

A sum is what the counters of whole hours say, what has not been folded yet, and at the edges of a window the entries
themselves. So it is exact for any window, also if a subscription's period turns out to be another one.
"""

from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from models.billing.usage_windows import Window
from models.platform.database import database, in_transaction
from models.platform.locks import lock
from models.platform.settings import settings

FOLDED_AT_ONCE = 20_000
HOUR = timedelta(hours=1)
# Quantities of meters go into the open batch of their hour too: see models/billing/usage_batches.py.
FOLD = """
with oldest as materialized ( -- once: as a plain subquery a join may run it again, which then takes further rows
    select id from usage_tail order by id limit %(limit)s for update skip locked
), ended as (
    delete from usage_tail where id in (select id from oldest) returning tenant_id, feature, used_at, quantity
), taken as (
    select ended.* from ended where exists (select 1 from tenant where tenant.id = ended.tenant_id)
), counted as (
    insert into usage_counter as counter (tenant_id, feature, hour, quantity)
    select tenant_id, feature, date_trunc('hour', used_at), sum(quantity) from taken group by 1, 2, 3 order by 1, 2, 3
    on conflict (tenant_id, feature, hour) do update set quantity = counter.quantity + excluded.quantity
), metered as (
    select tenant_id, feature, date_trunc('hour', used_at) as hour, quantity, used_at, case
            when used_at >= current_period_end then current_period_end
            when used_at >= current_period_start then current_period_start else '-infinity' end as period_start
    from taken join stripe_meter using (feature) join subscription using (tenant_id)
    where %(is_billed)s and used_at < coalesce(ended_at, 'infinity')
), batched as (
    insert into usage_batch as batch (id, tenant_id, feature, hour, period_start, quantity, used_at)
    select gen_random_uuid(), tenant_id, feature, hour, period_start, sum(quantity), max(used_at)
    from metered group by 2, 3, 4, 5 order by 2, 3, 4, 5
    on conflict (tenant_id, feature, hour, period_start) where state = 'open' do update
        set quantity = batch.quantity + excluded.quantity, used_at = greatest(batch.used_at, excluded.used_at)
)
select tenant_id, count(*) from ended group by tenant_id"""
# `start` to `end`, of which `first` to `last` are whole hours.
PIECES = """
    select feature, hour as at, quantity from usage_counter
    where tenant_id = %(tenant_id)s and hour >= %(first)s and hour < %(last)s
    union all
    select feature, used_at, quantity from usage_tail
    where tenant_id = %(tenant_id)s and used_at >= %(first)s and used_at < %(last)s
    union all
    select feature, used_at, quantity from usage_entry
    where tenant_id = %(tenant_id)s and used_at >= %(start)s and used_at < %(first)s
    union all
    select feature, used_at, quantity from usage_entry
    where tenant_id = %(tenant_id)s and used_at >= %(last)s and used_at < %(end)s"""
TOTALS = "select feature, sum(quantity) from ({pieces}) as pieces group by feature"
BY_DAY = """
select feature, date_trunc('day', at) as day, sum(quantity) from ({pieces}) as pieces
group by feature, day having sum(quantity) <> 0 order by feature, day"""
TOTALS, BY_DAY = TOTALS.replace("{pieces}", PIECES), BY_DAY.replace("{pieces}", PIECES)
LEVELS = """
select feature, sum(quantity) from (
    select feature, quantity from usage_counter where tenant_id = %(tenant_id)s and feature = any(%(features)s)
    union all
    select feature, quantity from usage_tail where tenant_id = %(tenant_id)s and feature = any(%(features)s)
) as pieces group by feature"""


class DayTotal(NamedTuple):
    """`day`: its begin, in UTC."""

    feature: str
    day: datetime
    quantity: int


@in_transaction
def fold(limit: int = FOLDED_AT_ONCE) -> dict[UUID, int]:
    """Fold entries into the counters, the oldest first. Returns how many of each tenant; nothing: there are no more."""
    lock("usage-fold")
    rows = database.execute_sql(FOLD, {"limit": limit, "is_billed": settings.enable_billing}).fetchall()
    return dict(rows)


def totals(tenant_id: UUID, window: Window) -> dict[str, int]:
    """What a tenant has used in a window, by feature."""
    rows = database.execute_prepared(TOTALS, bounds(tenant_id, window)).fetchall()
    return {feature: int(quantity) for feature, quantity in rows}


def by_day(tenant_id: UUID, window: Window) -> list[DayTotal]:
    """What a tenant has used on each day (UTC) of a window, by feature and day. Days without use are left out."""
    rows = database.execute_prepared(BY_DAY, bounds(tenant_id, window)).fetchall()
    return [DayTotal(feature, day, int(quantity)) for feature, day, quantity in rows]


def levels(tenant_id: UUID, features: list[str]) -> dict[str, int]:
    """What a tenant has of features that are not counted by window: the sum of all that came and went."""
    rows = database.execute_prepared(LEVELS, {"tenant_id": tenant_id, "features": features}).fetchall()
    return {feature: int(quantity) for feature, quantity in rows}


def bounds(tenant_id: UUID, window: Window) -> dict[str, Any]:
    """The values of PIECES."""
    first = _hour(window.start + HOUR - timedelta(microseconds=1))
    last = _hour(window.end)
    if first > last:  # the window is within an hour
        first = last = window.end
    return {"tenant_id": tenant_id, "start": window.start, "first": first, "last": last, "end": window.end}


def _hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)
