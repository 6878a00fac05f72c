"""Minutes are summed up to hours and days: what counts as up, down and unknown."""

from datetime import UTC, datetime, timedelta

import pytest

from models.platform.clock import now
from models.platform.database import database
from models.status import history, uptime
from models.status.incidents import COMPLETED, IN_PROGRESS, MAINTENANCE, RESOLVED, SCHEDULED, Incident
from tests.support.probes import found

pytestmark = pytest.mark.usefixtures("clean")
MINUTE = timedelta(minutes=1)
# The middle of the day before yesterday: everything in a test is of the same day, whatever the time is.
NOON = datetime.combine(now().date() - timedelta(days=2), datetime.min.time(), UTC) + timedelta(hours=12)


def told(services, start, end, *, created=None, **columns):
    """A published incident of so many minutes after NOON."""
    number = Incident.select().count()
    columns = {"state": RESOLVED, "published_at": now()} | columns
    return Incident.create(
        slug=f"incident-{number}",
        title="It fails",
        impact="All of it",
        services=services,
        starts_at=NOON + start * MINUTE,
        ended_at=None if end is None else NOON + end * MINUTE,
        created_at=NOON + (start if created is None else created) * MINUTE,
        **columns,
    )


def day(key="api", *, anew=True):
    if anew:
        uptime.roll_up_all()
    return history.days([key], 3)[key][0]


def sums():
    rows = database.execute_sql("select * from status_uptime order by service, period, starts_at")
    return rows.fetchall()


def test_good_and_slow_minutes_are_up_and_failed_ones_down():
    found("api", *["good"] * 6, "slow", "failed", "failed", until=NOON)
    found_day = day()
    assert (found_day.seconds_up, found_day.seconds_down, found_day.state) == (420, 120, "degraded")


def test_to_sum_up_twice_changes_nothing_and_late_results_count():
    found("api", "good", "good", until=NOON)
    told({"api": "incident"}, 10, 20)
    uptime.roll_up_all()
    before = sums()
    uptime.roll_up_all()
    uptime.roll_up()
    assert sums() == before != []
    found("api", "failed", until=NOON - 90 * MINUTE)
    uptime.roll_up()
    assert day(anew=False).seconds_down == 600, "the frequent roll-up leaves what is older to the other one"
    assert day().seconds_down == 660


def test_minutes_without_a_result_are_unknown():
    found("api", "good", until=NOON)
    database.execute_sql("update status_check set result = null")
    assert day().state == "unknown"


def test_maintenance_is_not_counted_if_it_was_said_at_the_time():
    found("api", *["failed"] * 4, *["good"] * 2, until=NOON)
    database.execute_sql("update status_check set shown = 'maintenance' where result = 'failed'")
    found_day = day()
    assert (found_day.seconds_down, found_day.uptime, found_day.state) == (0, 100.0, "operational")


def test_good_minutes_of_maintenance_are_not_counted_either():
    found("api", *["good"] * 4, "failed", until=NOON)
    database.execute_sql("update status_check set shown = 'maintenance' where result = 'good'")
    found_day = day()
    assert (found_day.seconds_up, found_day.seconds_down, found_day.uptime) == (0, 60, 0.0)


def test_maintenance_that_is_announced_afterwards_excuses_nothing():
    found("api", *["failed"] * 20, until=NOON)
    told({"api": "maintenance"}, -20, 1, created=1, kind=MAINTENANCE, severity=MAINTENANCE, state=COMPLETED)
    assert day().seconds_down == 1200


@pytest.mark.parametrize(("state", "expected"), [(SCHEDULED, "unknown"), (IN_PROGRESS, "maintenance")])
def test_maintenance_of_what_nobody_probes(state, expected):
    told({"mail": "maintenance"}, 0, 10, kind=MAINTENANCE, severity=MAINTENANCE, state=state)
    assert day("mail").state == expected


def test_what_was_said_at_the_time_counts_though_the_incident_says_something_else_now():
    found("api", *["good"] * 10, until=NOON)
    database.execute_sql("update status_check set shown = 'incident'")
    told({"api": "degraded"}, -9, 30)
    found_day = day()
    assert (found_day.seconds_down, found_day.seconds_up, found_day.state) == (600, 0, "incident")


def test_an_incident_counts_from_its_beginning_though_it_was_told_later_and_probes_succeeded():
    found("api", *["good"] * 30, until=NOON + 29 * MINUTE)
    told({"api": "incident"}, 0, 20, created=15)
    found_day = day()
    assert (found_day.seconds_down, found_day.seconds_up) == (900, 900), (
        "after it was told, the results say what was shown"
    )


def test_an_incident_counts_where_there_was_nobody_to_probe():
    found("api", "good", until=NOON - 60 * MINUTE)
    told({"api": "incident"}, 0, 30)
    told({"api": "degraded"}, 10, 50)
    found_day = day()
    assert (found_day.seconds_down, found_day.seconds_up, found_day.state) == (1800, 60, "incident")


@pytest.mark.parametrize("change", [{"published_at": None}, {"services": {"chat": "incident"}}])
def test_drafts_and_incidents_of_other_services_do_not_count(change):
    found("api", "good", until=NOON)
    row = told({"api": "incident"}, 10, 40)
    Incident.update(**change).where(Incident.id == row.id).execute()
    assert day().seconds_down == 0


def test_an_incident_that_is_not_over_counts_until_now():
    told({"api": "incident"}, 0, None, state="investigating")
    assert day().seconds_down == 12 * 3600


def test_settled_history_does_not_change():
    found("api", "failed", until=now() - timedelta(days=7, hours=2))
    uptime.roll_up(now() - timedelta(days=100))
    assert sums() == []


def test_what_is_old_is_removed():
    found("api", "good", until=now() - uptime.KEPT_MINUTES - MINUTE)
    found("api", "good", until=NOON)
    uptime.roll_up_all()
    for period, age in (("hour", uptime.KEPT_HOURS), ("day", uptime.KEPT_DAYS)):
        old = now() - age - timedelta(days=1)
        database.execute_sql("insert into status_uptime values ('api', %s, %s, 1, 1, 0, 0, 0, 0, 0.1)", (period, old))
    uptime.purge()
    assert database.execute_sql("select count(*) from status_check").fetchone() == (1,)
    assert len(sums()) == 2
