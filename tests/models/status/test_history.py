"""How the services were: days, uptime, the latest results."""

from datetime import timedelta

import pytest

from models.platform.clock import now
from models.platform.database import database
from models.status import history
from models.status.history import DEGRADED, DOWN, MAINTENANCE, OPERATIONAL, UNKNOWN

pytestmark = pytest.mark.usefixtures("clean")
COLUMNS = ("measured", "up", "down", "degraded", "incident", "maintenance")


def summed(service, days_ago=0, **minutes):
    """Write what a roll-up would have written of one day."""
    day = now().replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days_ago)
    values = [minutes.get(name, 0) for name in COLUMNS]
    statement = "insert into status_uptime values (%s, 'day', %s, %s, %s, %s, %s, %s, %s, 0.1)"
    database.execute_sql(statement, [service, day, *values])


def checked(service, minutes_ago, result, reason=None):
    at = now().replace(second=0, microsecond=0) - timedelta(minutes=minutes_ago)
    statement = "insert into status_check (service, minute, claimed_at, result, seconds, reason) values (%s, %s, now(), %s, 0.2, %s)"
    database.execute_sql(statement, [service, at, result, reason])


def test_days_without_data_are_unknown_and_have_no_uptime():
    days = history.days(["api"])["api"]
    assert len(days) == 90 and days[-1].date == now().date() and days[0].date == now().date() - timedelta(days=89)
    assert {(day.state, day.uptime) for day in days} == {(UNKNOWN, None)}
    assert history.uptime("api") is None


def test_uptime_is_of_the_known_time():
    summed("api", 0, measured=100, up=90, down=10)
    summed("api", 40, measured=300, up=300)
    summed("api", 200, measured=1440, down=1440)
    days = history.days(["api", "other", "api"])
    assert (days["api"][-1].uptime, days["api"][-1].seconds_down, days["api"][-1].seconds_up) == (90.0, 600, 5400)
    assert days["api"][-41].uptime == 100.0
    assert days["other"][-1].state == UNKNOWN
    assert history.uptime("api") == pytest.approx(97.5)
    assert history.uptime("api", 1) == 90.0


@pytest.mark.parametrize(
    ("minutes", "state"),
    [
        ({"measured": 1440, "up": 1440}, OPERATIONAL),
        ({"measured": 1440, "up": 1439, "down": 1}, DEGRADED),
        ({"measured": 1440, "up": 1440, "degraded": 3}, DEGRADED),
        ({"measured": 1440, "up": 1430, "down": 10}, DOWN),
        ({"measured": 1440, "up": 1438, "down": 2, "incident": 2}, DOWN),
        ({"measured": 10, "up": 0, "maintenance": 10}, MAINTENANCE),
        ({"measured": 1440, "up": 1430, "maintenance": 10}, OPERATIONAL),
    ],
)
def test_a_day_is_as_its_worst_minutes(minutes, state):
    summed("api", **minutes)
    assert history.days(["api"], 1)["api"][0].state == state


def test_maintenance_does_not_hurt_the_uptime():
    summed("api", measured=1440, up=720, maintenance=720)
    assert history.uptime("api") == 100.0


def test_a_service_that_nobody_measures_has_states_but_no_uptime():
    summed("mail", down=30, incident=30)
    day = history.days(["mail"], 1)["mail"][0]
    assert (day.state, day.uptime, day.seconds_down) == (DOWN, None, 1800)
    assert history.uptime("mail") is None


def test_a_day_that_was_down_as_a_whole_counts_though_nobody_could_measure():
    summed("api", 1, down=1440, incident=1440)
    summed("api", measured=1440, up=1440)
    assert history.days(["api"], 2)["api"][0].uptime == 0.0
    assert history.uptime("api", 2) == 50.0


def test_the_latest_results():
    checked("api", 3, "good")
    checked("api", 2, "failed", "it answered 500")
    checked("api", 1, None)
    checked("chat", 0, "slow")
    found = history.latest(["api", "chat", "mail"])
    assert sorted(found) == ["api", "chat"]
    assert (found["api"].state, found["api"].reason, found["chat"].state) == (DOWN, "it answered 500", DEGRADED)


def test_no_services_give_no_days():
    assert history.days([]) == {} and history.latest([]) == {}
