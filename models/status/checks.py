"""The results of probes, one of each service and minute: claimed, written down, and how many of them are alike in a row."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from models.platform.database import database, in_transaction, transaction
from models.platform.locks import lock_for_next
from models.status.history import FAILED

MINUTE = timedelta(minutes=1)
GAP = 3 * MINUTE  # results further apart are not in a row: nobody knows what was between them
MOST = 120  # results that are looked at
LONGEST_REASON = 300  # characters

# What published incidents say of a service now. A minute of maintenance is not counted, whatever else is said.
SHOWN = """
select case when bool_or(says.value = 'maintenance') then 'maintenance' when bool_or(says.value = 'incident') then 'incident'
    when bool_or(says.value = 'degraded') then 'degraded' else 'operational' end
from status_incident i, jsonb_each_text(i.services) says
where i.ended_at is null and i.published_at is not null and i.state <> 'scheduled' and i.starts_at <= now() and says.key = asked.key"""
# A claim whose worker was killed may be taken over in the same minute; one that may be alive keeps the service busy.
CLAIM = """
insert into status_check as held (service, minute, claimed_at, shown)
select asked.key, date_trunc('minute', clock_timestamp()), clock_timestamp(), ({shown})
from unnest(%(keys)s::text[]) asked (key)
where not exists (
    select from status_check busy where busy.service = asked.key and busy.result is null
    and busy.minute > now() - interval '10 minutes' and busy.claimed_at > clock_timestamp() - %(busy)s)
on conflict (service, minute) do update set claimed_at = excluded.claimed_at, shown = excluded.shown where held.result is null
returning service, minute, claimed_at""".replace("{shown}", SHOWN)
MINE = "service = %(service)s and minute = %(minute)s and claimed_at = %(claimed_at)s and result is null"
RECORD = f"update status_check set result = %(result)s, seconds = %(seconds)s, reason = %(reason)s where {MINE} returning shown"  # noqa: S608
DROP = f"delete from status_check where {MINE}"  # noqa: S608
NEWEST = """
select minute, result, shown from status_check
where service = %(key)s and result is not null and minute > %(after)s order by minute desc limit %(limit)s"""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to probe a service, and to write down what was found. `at`: the minute that it is for."""

    service: str
    at: datetime
    claimed_at: datetime

    @property
    def values(self) -> dict[str, object]:
        return {"service": self.service, "minute": self.at, "claimed_at": self.claimed_at}


@dataclass(frozen=True, slots=True)
class Streak:
    """How many of the newest results are alike. `since`: the minute of the oldest of them."""

    failures: int = 0
    successes: int = 0
    since: datetime | None = None


def claim(keys: Iterable[str], busy_seconds: float) -> list[Claim]:
    """Claim those of the services whose present minute has no result and whom nobody is probing.

    `busy_seconds`: how long a claim without a result keeps others away: longer than any probe takes.
    """
    with transaction():
        lock_for_next("status-claims")
        values = {"keys": sorted(set(keys)), "busy": timedelta(seconds=busy_seconds)}
        return [Claim(*row) for row in database.execute_sql(CLAIM, values).fetchall()]


def record(mine: Claim, result: str, seconds: float, reason: str | None = None) -> bool:
    """Write down what a probe has found: `good`, `slow` or `failed`. False if another worker has taken the claim over."""
    values = {**mine.values, "result": result, "seconds": seconds, "reason": reason and reason[:LONGEST_REASON]}
    return database.execute_sql(RECORD, values).fetchone() is not None


def drop(mine: Claim) -> None:
    """There is nothing to probe: the minute stays unknown."""
    database.execute_sql(DROP, mine.values)


def streak(key: str, at: datetime) -> Streak:
    """The results in a row that end about `at`. Maintenance, and a gap of GAP, break the row."""
    rows = database.execute_sql(NEWEST, {"key": key, "after": at - MOST * MINUTE, "limit": MOST}).fetchall()
    count, previous, kind = 0, at, None
    for minute, result, shown in rows:
        is_failure = result == FAILED
        if previous - minute > GAP or shown == "maintenance" or (kind is not None and is_failure != kind):
            break
        count, previous, kind = count + 1, minute, is_failure
    if not count:
        return Streak()
    return Streak(count, 0, previous) if kind else Streak(0, count, previous)


@in_transaction
def was_good_since(key: str, time: datetime) -> bool:
    """Whether a probe of this service has succeeded since then."""
    statement = "select 1 from status_check where service = %s and minute >= %s and result in ('good', 'slow') limit 1"
    return database.execute_sql(statement, (key, time)).fetchone() is not None
