"""What probes have found and incidents have said, minute by minute, is summed up by the hour and the day.

A minute of maintenance is not counted. Others are down if the probe failed, or if a published incident said that the service
was; up if the probe did not fail; and else unknown. What incidents said is written down with each result. Only where there is
none, and for the time before the incident was written, counts what it says now.
"""

from datetime import datetime, timedelta

from models.platform.clock import now
from models.platform.database import database, transaction
from models.platform.locks import lock

HOUR = timedelta(hours=1)
KEPT_MINUTES, KEPT_HOURS, KEPT_DAYS = timedelta(days=8), timedelta(days=120), timedelta(days=1100)
SETTLED = timedelta(days=7)  # older history never changes

MINUTES = """
with spans as (
    select says.key as service, says.value as says, i.created_at as told_at,
        date_trunc('minute', greatest(i.starts_at, %(since)s)) as first, least(coalesce(i.ended_at, now()), now()) as ended
    from status_incident i, jsonb_each_text(i.services) says
    where i.published_at is not null and i.state <> 'scheduled' and i.starts_at < now()
        and coalesce(i.ended_at, now()) > %(since)s
), told as (
    select service, minute, says, told_at
    from spans, generate_series(first, ended - interval '1 microsecond', interval '1 minute') minute
), found as (
    select service, minute, result, seconds, shown as says from status_check where minute >= %(since)s
    union all
    select t.service, t.minute, null, null, t.says from told t
    left join status_check c on c.service = t.service and c.minute = t.minute
    where c.service is null or (t.minute < t.told_at and t.says <> 'maintenance')
), minutes as (
    select service, minute, bool_or(result is not null) as measured, avg(seconds) filter (where result <> 'failed') as seconds,
        bool_or(says = 'maintenance') as maintenance, bool_or(says = 'incident') as incident,
        bool_or(result = 'failed') or bool_or(says = 'incident') as down,
        bool_or(result = 'slow') or bool_or(says = 'degraded') as degraded
    from found where result is not null or says <> 'operational' group by service, minute
)
insert into status_uptime (service, period, starts_at, measured, up, down, degraded, incident, maintenance, seconds)
select service, 'hour', date_trunc('hour', minute),
    count(*) filter (where measured), count(*) filter (where measured and not maintenance and down is not true),
    count(*) filter (where down and not maintenance), count(*) filter (where degraded and not maintenance),
    count(*) filter (where incident and not maintenance), count(*) filter (where maintenance), avg(seconds)
from minutes group by service, date_trunc('hour', minute)"""
DAYS = """
insert into status_uptime (service, period, starts_at, measured, up, down, degraded, incident, maintenance, seconds)
select service, 'day', date_trunc('day', starts_at), sum(measured), sum(up), sum(down), sum(degraded), sum(incident),
    sum(maintenance), sum(seconds * measured) / nullif(sum(measured) filter (where seconds is not null), 0)
from status_uptime where period = 'hour' and starts_at >= date_trunc('day', %(since)s::timestamptz)
group by service, date_trunc('day', starts_at)"""
FORGET = "delete from status_uptime where period = %(period)s and starts_at >= date_trunc(%(period)s, %(since)s::timestamptz)"
PURGE = """
with minutes as (delete from status_check where minute < %(minutes)s),
    hours as (delete from status_uptime where period = 'hour' and starts_at < %(hours)s)
delete from status_uptime where period = 'day' and starts_at < %(days)s"""


def roll_up(since: datetime | None = None) -> None:
    """Sum up the hours since that time, and their days, anew: to do it twice changes nothing. Default: the last two hours.

    Later results, and incidents that are told later, count if they are of the time since then.
    """
    begin = since or now() - HOUR
    begin = max(begin, now() - SETTLED).replace(minute=0, second=0, microsecond=0)
    with transaction():
        lock("status-uptime")
        for period, statement in (("hour", MINUTES), ("day", DAYS)):
            database.execute_sql(FORGET, {"period": period, "since": begin})
            database.execute_sql(statement, {"since": begin})


def roll_up_all() -> None:
    """The same for all history that is not settled yet."""
    roll_up(now() - SETTLED)


def purge() -> None:
    """Remove results and sums that are older than is shown anywhere."""
    time = now()
    values = {"minutes": time - KEPT_MINUTES, "hours": time - KEPT_HOURS, "days": time - KEPT_DAYS}
    database.execute_sql(PURGE, values)
