"""How the services were: the days of their history, their uptime, and what their probes have found last."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from models.platform.clock import now
from models.platform.database import database

OPERATIONAL, DEGRADED, DOWN, MAINTENANCE, UNKNOWN = "operational", "degraded", "incident", "maintenance", "unknown"
GOOD, SLOW, FAILED = "good", "slow", "failed"  # results of a probe
STATES = {GOOD: OPERATIONAL, SLOW: DEGRADED, FAILED: DOWN}
RED_SECONDS = 600  # a day with so much downtime is one with an incident, whether one was written or not

DAYS = """
select service, starts_at::date, measured, up, down, degraded, incident, maintenance from status_uptime
where service = any(%(keys)s) and period = 'day' and starts_at >= %(first)s order by service, starts_at"""
LATEST = """
select service, minute, result, seconds, reason from unnest(%(keys)s::text[]) asked (key) cross join lateral (
    select service, minute, result, seconds, reason from status_check
    where service = key and result is not null order by minute desc limit 1) newest"""


@dataclass(frozen=True, slots=True)
class Day:
    """`state`: `operational`, `degraded`, `incident`, `maintenance` or `unknown`. `date`: in UTC.

    `uptime`: percent of the time that is known, without maintenance; None if nothing is known.
    `seconds_up`, `seconds_down`: what it was computed from. The present day grows.
    """

    date: date
    state: str = UNKNOWN
    uptime: float | None = None
    seconds_up: int = 0
    seconds_down: int = 0


@dataclass(frozen=True, slots=True)
class Check:
    """What a probe has found. `state`: `operational`, `degraded` (it was slow) or `incident`. `at`: the minute.

    `seconds`: that it took. `reason`: why it failed, for operators; the public is not shown it.
    """

    service: str
    at: datetime
    state: str
    seconds: float | None
    reason: str | None


def days(keys: Iterable[str], count: int = 90) -> dict[str, list[Day]]:
    """The last `count` days of each service, the oldest first; the last one is today. One query, of sums that are a minute old.

    A day of which nothing is known is `unknown`. So is the uptime of a service that no probe has ever measured in this time:
    what operators say of it gives only the `state`.
    """
    wanted, today = list(dict.fromkeys(keys)), now().date()
    first = today - timedelta(days=count - 1)
    rows = database.execute_sql(DAYS, {"keys": wanted, "first": first}).fetchall()
    found: dict[str, list[tuple[date, tuple[int, ...]]]] = {}
    for service, day, *minutes in rows:
        found.setdefault(service, []).append((day, tuple(minutes)))
    dates = [first + timedelta(days=number) for number in range(count)]
    return {key: _filled(dates, found.get(key, [])) for key in wanted}


def uptime(key: str, count: int = 90) -> float | None:
    """Percent of the last `count` days that the service was up, of the time that is known. None if nothing is known."""
    return uptime_of(days([key], count)[key])


def uptime_of(some: Sequence[Day]) -> float | None:
    """The same, for days that were read already."""
    up, down = sum(day.seconds_up for day in some), sum(day.seconds_down for day in some)
    is_known = any(day.uptime is not None for day in some)
    return _percent(up, down) if is_known else None


def latest(keys: Iterable[str]) -> dict[str, Check]:
    """The newest result of each service that has one. It may be old, if nobody has probed since: see `at`."""
    rows = database.execute_sql(LATEST, {"keys": list(keys)}).fetchall()
    return {
        service: Check(service, minute, STATES[result], seconds, reason)
        for service, minute, result, seconds, reason in rows
    }


def _filled(dates: list[date], found: list[tuple[date, tuple[int, ...]]]) -> list[Day]:
    is_measured = any(minutes[0] for _, minutes in found)
    by_date = {day: _day(day, minutes, is_measured=is_measured) for day, minutes in found}
    return [by_date.get(day) or Day(day) for day in dates]


def _day(day: date, minutes: tuple[int, ...], *, is_measured: bool) -> Day:
    _, up, down, degraded, incident, maintenance = minutes
    if incident or down * 60 >= RED_SECONDS:
        state = DOWN
    elif degraded or down:
        state = DEGRADED
    elif up:
        state = OPERATIONAL
    else:
        state = MAINTENANCE if maintenance else UNKNOWN
    percent = _percent(up, down) if is_measured else None
    return Day(day, state, percent, up * 60, down * 60)


def _percent(up: int, down: int) -> float | None:
    return 100 * up / (up + down) if up + down else None
