"""The results of probes: claimed by one, written down once, and counted in a row."""

import threading
from datetime import timedelta

import pytest

from models.platform.clock import now
from models.platform.database import database, release
from models.status import checks
from models.status.checks import Streak
from models.status.incidents import Incident
from tests.support.probes import found

pytestmark = pytest.mark.usefixtures("clean")
BUSY = 30


def test_one_of_many_probes_a_service_in_a_minute():
    got = []

    def claim():
        got.extend(checks.claim(["api", "chat"], BUSY))
        release()

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claim.service for claim in got) == ["api", "chat"]


def test_a_minute_has_one_result():
    [claim] = checks.claim(["api"], BUSY)
    assert checks.record(claim, "good", 0.1)
    assert not checks.record(claim, "failed", 0.1)
    database.execute_sql("update status_check set minute = date_trunc('minute', now())")  # should the minute be over
    assert checks.claim(["api"], BUSY) == []


def test_nobody_probes_a_service_whose_last_probe_may_still_run():
    assert checks.claim(["api"], BUSY)
    database.execute_sql("update status_check set minute = minute - interval '1 minute'")
    assert checks.claim(["api"], BUSY) == []
    assert [again.service for again in checks.claim(["api"], busy_seconds=0)] == ["api"]


def test_a_claim_of_a_dead_worker_is_taken_over_and_its_late_result_does_not_count():
    [dead] = checks.claim(["api"], BUSY)
    [alive] = checks.claim(["api"], busy_seconds=0)
    assert checks.record(dead, "failed", 9.0) is False or dead.at != alive.at
    assert checks.record(alive, "good", 0.1, "x" * 999)
    result, reason = database.execute_sql(
        "select result, length(reason) from status_check where minute = %s", (alive.at,)
    ).fetchone()
    assert (result, reason) == ("good", checks.LONGEST_REASON)


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        ({}, "incident"),
        ({"published_at": None}, "operational"),
        ({"ended_at": now()}, "operational"),
        ({"services": {"chat": "incident"}}, "operational"),
        ({"services": {"api": "degraded"}}, "degraded"),
        ({"kind": "maintenance", "state": "in_progress", "services": {"api": "maintenance"}}, "maintenance"),
        ({"kind": "maintenance", "state": "scheduled", "services": {"api": "maintenance"}}, "operational"),
    ],
)
def test_a_claim_writes_down_what_incidents_say_at_that_time(columns, shown):
    Incident.create(
        **{"slug": "it", "title": "It", "impact": "All", "services": {"api": "incident"}, "published_at": now()}
        | columns
    )
    checks.claim(["api"], BUSY)
    assert database.execute_sql("select shown from status_check").fetchone() == (shown,)


def test_of_several_incidents_the_worst_is_shown_and_maintenance_before_all():
    for word in ("degraded", "incident", "maintenance"):
        Incident.create(
            slug=word, title="It", impact="All", services={"api": word}, published_at=now(), state="identified"
        )
        checks.claim(["api"], busy_seconds=0)
        shown = database.execute_sql("select shown from status_check order by minute desc limit 1").fetchone()
        assert shown == (word,)


def test_what_cannot_be_probed_leaves_nothing():
    [claim] = checks.claim(["api"], BUSY)
    checks.drop(claim)
    assert database.execute_sql("select count(*) from status_check").fetchone() == (0,)


def test_results_are_counted_in_a_row():
    assert checks.streak("api", now()) == Streak()
    found("api", "good", "failed", "failed")
    streak = checks.streak("api", now())
    assert (streak.failures, streak.successes) == (2, 0)
    found("chat", "failed", "slow", "good", "good")
    assert checks.streak("chat", now()).successes == 3


def test_a_row_begins_at_its_oldest_result():
    at = now().replace(second=0, microsecond=0)
    found("api", "failed", "failed", "failed", until=at)
    assert checks.streak("api", now()).since == at - timedelta(minutes=2)


def test_maintenance_breaks_a_row():
    found("api", "failed", "failed", "failed")
    database.execute_sql(
        "update status_check set shown = 'maintenance' where minute = (select max(minute) - interval '1 minute' from status_check)"
    )
    assert checks.streak("api", now()).failures == 1


def test_a_gap_breaks_a_row_also_one_before_now():
    at = now() - timedelta(minutes=10)
    found("api", "failed", "failed", "failed", until=at)
    assert checks.streak("api", now()) == Streak()
    found("api", "failed")
    assert checks.streak("api", now()).failures == 1


def test_whether_a_service_was_seen_to_work_since():
    from models.platform.database import transaction

    found("api", "good", "failed")
    with transaction():
        assert checks.was_good_since("api", now() - timedelta(minutes=5))
        assert not checks.was_good_since("api", now())
        assert not checks.was_good_since("chat", now() - timedelta(minutes=5))
