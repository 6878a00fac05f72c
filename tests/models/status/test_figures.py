"""The figures of the status page: computed, compared, and `no data` where there is none."""

from datetime import timedelta

import pytest

from models.platform.clock import now
from models.runs.run import Run
from models.status import figures
from models.status.history import Day
from models.status.services import services

HOUR = timedelta(hours=1)
FULL, HALF = {"uptime": 100.0, "seconds_up": 86_400}, {"uptime": 50.0, "seconds_up": 43_200, "seconds_down": 43_200}
pytestmark = pytest.mark.usefixtures("clean")


def history(month_before, last_month):
    day = now().date()
    return [Day(day, "operational", **values) for values in [FULL] * 30 + [month_before] * 30 + [last_month] * 30]


def found(days=None):
    some = dict(list(services().items())[:2])
    unknown = [Day(now().date())] * 90
    return figures.figures(some, dict.fromkeys(some, days or unknown), now())


def chat(tenant, seconds, ago=timedelta(0), **columns):
    begun = now() - ago - timedelta(seconds=seconds)
    given = {"kind": "chat", "state": "succeeded", "terminal": {}, "finished_at": begun + timedelta(seconds=seconds)}
    unique = figures._lowest_id(begun).int + Run.select().count()
    row_id = figures.UUID(int=unique)
    Run.create(id=row_id, tenant_id=tenant.id, conversation_key="c", agent="a", created_at=begun, **(given | columns))


def test_without_data_they_say_so():
    assert [(each.value, each.trend_value, each.trend_tone) for each in found()] == [
        ("no data", "no data", "neutral")
    ] * 3


@pytest.mark.parametrize(
    ("before", "last", "value", "trend", "tone"),
    [
        (FULL, FULL, "100.00%", "\u2192 unchanged", "neutral"),
        (FULL, HALF, "50.00%", "\u2193 worse", "negative"),
        (HALF, FULL, "100.00%", "\u2191 better", "positive"),
        ({}, FULL, "100.00%", "nothing to compare with", "neutral"),
    ],
)
def test_uptime_is_compared_with_the_month_before(before, last, value, trend, tone):
    first = found(history(before, last))[0]
    assert (first.label, first.value, first.trend_value, first.trend_tone) == (
        "API uptime, 30 days",
        value,
        trend,
        tone,
    )


def test_uptime_is_not_rounded_up():
    assert figures.percent(99.9999) == "99.99%"


def test_latency_is_that_of_answers_of_the_last_day(tenant):
    for number in range(20):
        chat(tenant, 2.0 if number < 19 else 8.0, ago=HOUR)
    chat(tenant, 60, ago=HOUR, state="failed")
    chat(tenant, 60, ago=HOUR, kind="workflow")
    chat(tenant, 60, ago=HOUR, waiting={"sequence_number": 1})
    assert found()[1].value == "2.3 s"
    assert found()[1].trend_value == "nothing to compare with"
    for _ in range(3):
        chat(tenant, 1.0, ago=25 * HOUR)
    assert (found()[1].trend_value, found()[1].trend_tone) == ("\u2191 worse", "negative")
