"""The figures of the status page, each of them measured. What was not measured says so."""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from models.platform.database import database
from models.status import history
from models.status.services import Service
from models.status.views import Metric

NO_DATA = "no data"
MONTH = 30  # days
DAY = timedelta(days=1)
NEWEST = 5000  # runs that are looked at, so that a busy installation is not slowed down by its status page
LATENCY = """
select percentile_cont(0.95) within group (order by extract(epoch from finished_at - created_at)::float8)
from (select kind, state, waiting, created_at, finished_at from run where id >= %(first)s and id < %(last)s
    order by id desc limit %(newest)s) newest
where kind = 'chat' and state = 'succeeded' and waiting is null"""
HIGHER, LOWER = "higher", "lower"


def figures(services: Mapping[str, Service], days: Mapping[str, Sequence[history.Day]], now: datetime) -> list[Metric]:
    """The uptime of the first service, the latency of chats, and the uptime of everything."""
    found = [_uptime(services[key].name, days[key]) for key in list(services)[:1]]
    return [*found, _latency(now), _all_services(days)]


def _uptime(name: str, days: Sequence[history.Day]) -> Metric:
    value, before = history.uptime_of(days[-MONTH:]), history.uptime_of(days[-2 * MONTH : -MONTH])
    text = "Of the last 30 days, without maintenance; compared with the 30 days before."
    return _metric(f"{name} uptime, 30 days", value, before, text, better=HIGHER, shown=percent, least=0.005)


def _latency(now: datetime) -> Metric:
    value, before = _p95(now - DAY, now), _p95(now - 2 * DAY, now - DAY)
    text = "95 of 100 answers of the last day were complete sooner; compared with the day before."
    return _metric(
        "Chat latency, p95", value, before, text, better=LOWER, shown=lambda seconds: f"{seconds:.1f} s", least=0.05
    )


def _all_services(days: Mapping[str, Sequence[history.Day]]) -> Metric:
    def mean(first: int | None, last: int | None) -> float | None:
        known = [value for each in days.values() if (value := history.uptime_of(each[first:last])) is not None]
        return sum(known) / len(known) if known else None

    text = "The mean of all services in 90 days, without maintenance; its trend is that of the last 30 days."
    trend = _metric("", mean(-MONTH, None), mean(-2 * MONTH, -MONTH), "", better=HIGHER, shown=percent, least=0.005)
    value = mean(None, None)
    return Metric(
        "Uptime of all services",
        NO_DATA if value is None else percent(value),
        text,
        trend.trend_value,
        trend.trend_tone,
    )


def _p95(first: datetime, last: datetime) -> float | None:
    values = {"first": _lowest_id(first), "last": _lowest_id(last), "newest": NEWEST}
    found: float | None = database.execute_sql(LATENCY, values).fetchone()[0]
    return found


def _lowest_id(time: datetime) -> UUID:
    """Ids of rows begin with the milliseconds of their creation: the index of ids finds the rows of a day."""
    return UUID(int=int(time.timestamp() * 1000) << 80)


def _metric(
    label: str,
    value: float | None,
    before: float | None,
    text: str,
    *,
    better: str,
    shown: Callable[[float], str],
    least: float,
) -> Metric:
    """`better`: HIGHER or LOWER. `least`: the smallest difference that counts."""
    if value is None:
        return Metric(label, NO_DATA, text, NO_DATA, "neutral")
    if before is None:
        return Metric(label, shown(value), text, "nothing to compare with", "neutral")
    if abs(value - before) < least:
        return Metric(label, shown(value), text, "\u2192 unchanged", "neutral")
    arrow = "\u2191" if value > before else "\u2193"
    is_better = (value > before) == (better == HIGHER)
    return Metric(
        label,
        shown(value),
        text,
        f"{arrow} {'better' if is_better else 'worse'}",
        "positive" if is_better else "negative",
    )


def percent(value: float) -> str:
    """With two decimals, cut off: 99.999 is not 100."""
    return f"{math.floor(value * 100) / 100:.2f}%"
