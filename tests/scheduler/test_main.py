"""The scheduler: one process leads, and only the leader works."""

import threading
import time

import peewee
import pytest
import redis
from apscheduler.triggers.cron import CronTrigger

from models.jobs.ledger import Job
from models.platform.database import release
from scheduler import main as scheduler
from scheduler.main import Leader
from scheduler.schedule import CRON


@pytest.fixture
def leader(clean):
    leader = Leader()
    assert leader.keep_lock()
    yield leader
    if leader.has_lock:
        leader.give_up_lock(RuntimeError("the test has ended"))


def leads_elsewhere():
    """Whether another process, here a thread with a connection of its own, becomes the leader."""
    outcome = []

    def try_to_lead():
        other = Leader()
        outcome.append(other.keep_lock())
        if other.has_lock:
            other.give_up_lock(RuntimeError("done"))
        release()

    thread = threading.Thread(target=try_to_lead)
    thread.start()
    thread.join(10)
    return outcome == [True]


def leads_elsewhere_soon():
    """The server gives the lock back when it has noticed that the connection is closed, which is not at once."""
    deadline = time.monotonic() + 5
    while not leads_elsewhere():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_only_one_process_leads(leader):
    assert leader.keep_lock(), "asking again changes nothing"
    assert not leads_elsewhere()


def test_another_process_leads_when_the_leader_loses_its_connection(leader):
    leader.give_up_lock(peewee.OperationalError("the server went away"))
    assert leads_elsewhere_soon()


def test_a_step_runs_only_while_leading(leader):
    steps = []
    leader.run_step("jobs.resent", lambda: steps.append("ran") or 1)
    leader.has_lock = False
    leader.run_step("jobs.resent", lambda: steps.append("ran again") or 1)
    leader.has_lock = True
    assert steps == ["ran"]


def test_a_step_that_redis_interrupts_is_tried_again_by_the_same_leader(leader):
    def fail():
        raise redis.ConnectionError("away")

    leader.run_step("jobs.resent", fail)
    assert leader.has_lock


def test_a_step_that_loses_the_database_ends_the_leadership(leader):
    def fail():
        raise peewee.OperationalError("away")

    leader.run_step("jobs.recovered", fail)
    assert not leader.has_lock
    assert leads_elsewhere_soon()


@pytest.mark.parametrize(("line", "kind"), CRON, ids=[kind.name for _, kind in CRON])
def test_every_cron_line_is_valid_and_enqueues_its_job(clean, line, kind):
    CronTrigger.from_crontab(line, timezone="UTC")
    scheduler.enqueue(kind)
    assert [job.name for job in Job.select()] == [kind.name]
