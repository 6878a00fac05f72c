"""The ledger among other rows: each method changes the right job, all of it, and no other."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from models.jobs import recovery
from models.jobs.ledger import CANCELLED, DEAD, QUEUED, RUNNING, SUCCEEDED, Job, JobNotFound, LeaseLost
from models.platform.database import transaction

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def add(clean, monkeypatch):
    """add(state=..., ...) -> a fresh job row, never sent."""

    def make(**columns):
        values = {"name": "noop", "queue": "housekeeping", "max_failures": 3, **columns}
        with transaction():
            return Job.create(**values)

    return make


@pytest.fixture
def long_uptime(monkeypatch):
    """As if Postgres had been up for long enough to take leases for expired."""
    statement = recovery.RECOVER_EXPIRED.replace("interval '5 seconds'", "interval '0 seconds'")
    assert statement != recovery.RECOVER_EXPIRED
    monkeypatch.setattr(recovery, "RECOVER_EXPIRED", statement)


def reload(job):
    return Job.get_by_id(job.id)


def running(add, **columns):
    return add(state=RUNNING, epoch=1, owner="me", lease_until=LONG_AGO + timedelta(days=36500), **columns)


def expired(add, **columns):
    return add(state=RUNNING, epoch=1, owner="gone", lease_until=LONG_AGO, due_at=LONG_AGO, sent_at=LONG_AGO, **columns)


def test_renewing_extends_the_lease(add):
    job = add()
    before = Job.claim(job.id, "me", 1).lease_until
    Job.renew("me", [job.id], 60)
    assert reload(job).lease_until > before + timedelta(seconds=50)


@pytest.mark.parametrize("give_up", [Job.release, lambda job: job.retry_later("it broke", 5)])
def test_giving_up_a_job_changes_no_other_job(add, give_up):
    mine, other, waiting = running(add), running(add), add()
    give_up(mine)
    assert (reload(mine).state, reload(mine).owner, reload(mine).lease_until) == (QUEUED, None, None)
    assert (reload(other).state, reload(other).owner) == (RUNNING, "me")
    assert reload(waiting).due_at == waiting.due_at


@pytest.mark.parametrize("give_up", [Job.release, lambda job: job.retry_later("it broke", 5), Job.finish])
def test_a_worker_that_lost_its_job_can_neither_release_nor_finish_it(add, give_up):
    old = running(add)
    Job.update(epoch=2).where(Job.id == old.id).execute()
    with pytest.raises(LeaseLost, match=str(old.id)):
        give_up(old)
    assert (reload(old).state, reload(old).epoch) == (RUNNING, 2)


@pytest.mark.parametrize("give_up", [Job.release, lambda job: job.retry_later("it broke", 5), Job.finish])
def test_a_job_that_was_ended_from_outside_is_not_queued_again(add, give_up):
    job = running(add)
    Job.update(state=DEAD).where(Job.id == job.id).execute()
    with pytest.raises(LeaseLost):
        give_up(job)
    assert reload(job).state == DEAD


def test_finishing_changes_the_row_and_the_object(add):
    job = running(add)
    job.finish(CANCELLED, "enough")
    row = reload(job)
    assert job.state == row.state == CANCELLED
    assert (row.error, row.owner, row.lease_until) == ("enough", None, None)


def test_a_released_job_is_due_and_marked_as_sent_now(add):
    job = running(add, due_at=LONG_AGO, sent_at=LONG_AGO)
    job.release()
    assert reload(job).due_at == reload(job).sent_at > LONG_AGO


def test_a_job_that_waits_for_its_retry_keeps_its_error_and_is_not_sent_meanwhile(add):
    job = running(add, due_at=LONG_AGO, sent_at=LONG_AGO)
    job.retry_later("it broke", 60)
    row = reload(job)
    assert (row.error, row.failures) == ("it broke", 1)
    assert row.due_at == row.sent_at > datetime.now(UTC) + timedelta(seconds=50)


def test_the_jobs_unclaimed_for_longest_are_taken_first_and_at_most_the_limit(add):
    older, old, fresh = (add(due_at=LONG_AGO, sent_at=LONG_AGO + timedelta(days=n)) for n in (0, 1, 2))
    taken = recovery.take_unclaimed(["housekeeping"], 5, limit=2)
    assert {job.id for job in taken} == {older.id, old.id}
    assert {job.name for job in taken} == {"noop"}, "whole rows, to be sent"
    assert reload(older).sent_at > LONG_AGO + timedelta(days=1000)
    assert reload(fresh).sent_at == fresh.sent_at


def test_jobs_that_are_not_due_not_late_or_in_another_queue_are_not_taken(add):
    add(due_at=LONG_AGO)
    add(sent_at=LONG_AGO, due_at=datetime.now(UTC) + timedelta(hours=1))
    add(sent_at=LONG_AGO, due_at=LONG_AGO, queue="mail")
    running(add, sent_at=LONG_AGO, due_at=LONG_AGO)
    assert recovery.take_unclaimed(["housekeeping"], 5) == []


def test_a_retry_that_is_due_is_taken_once(add):
    ended = add(failures=1, due_at=LONG_AGO, sent_at=LONG_AGO)
    add(failures=0, due_at=LONG_AGO, sent_at=LONG_AGO)
    add(failures=1, due_at=LONG_AGO, sent_at=LONG_AGO + timedelta(days=1))
    taken = recovery.take_due_retries()
    assert [(job.id, job.name) for job in taken] == [(ended.id, "noop")]
    assert recovery.take_due_retries() == []


def test_at_most_the_limit_of_due_retries_is_taken(add):
    for _ in range(3):
        add(failures=1, due_at=LONG_AGO, sent_at=LONG_AGO)
    assert [len(recovery.take_due_retries(limit=2)), len(recovery.take_due_retries(limit=2))] == [2, 1]


@pytest.mark.parametrize(
    "take", [recovery.take_due_retries, lambda: recovery.take_unclaimed(["housekeeping"], 5), recovery.recover_expired]
)
def test_rows_locked_by_another_scheduler_are_skipped_without_waiting(add, long_uptime, take):
    from threading import Thread

    from models.platform.database import database, release

    add(failures=1, due_at=LONG_AGO, sent_at=LONG_AGO)
    expired(add)
    seen = []

    def other():
        database.execute_sql("set lock_timeout = '300ms'")
        try:
            seen.append(take())
        except Exception as error:
            seen.append(error)
        finally:
            database.execute_sql("reset lock_timeout")
            release()

    with transaction():
        Job.select().for_update().execute()
        thread = Thread(target=other)
        thread.start()
        thread.join()
    assert seen == [[]]


def test_only_jobs_with_expired_leases_are_recovered(add, long_uptime):
    gone, alive, waiting = expired(add), running(add), add(due_at=LONG_AGO)
    assert [job.id for job in recovery.recover_expired()] == [gone.id]
    assert (reload(alive).state, reload(alive).owner) == (RUNNING, "me")
    assert (reload(waiting).state, reload(waiting).due_at) == (QUEUED, LONG_AGO)


def test_a_recovered_job_is_queued_again_due_now_with_one_more_failure(add, long_uptime):
    job = expired(add, failures=1)
    assert [row.name for row in recovery.recover_expired()] == ["noop"]
    row = reload(job)
    assert (row.state, row.failures, row.owner, row.lease_until) == (QUEUED, 2, None, None)
    assert row.due_at == row.sent_at > LONG_AGO
    assert row.finished_at is None


def test_a_recovered_job_that_failed_too_often_is_dead_with_its_time_and_error(add, long_uptime):
    job = expired(add, failures=2)
    recovery.recover_expired()
    row = reload(job)
    assert (row.state, row.failures, row.error) == (DEAD, 3, "the worker vanished")
    assert row.finished_at > LONG_AGO


def test_a_recovered_job_with_a_cancel_request_is_cancelled(add, long_uptime):
    job = expired(add, cancel_requested=True)
    recovery.recover_expired()
    assert reload(job).state == CANCELLED
    assert reload(job).finished_at > LONG_AGO


def test_at_most_the_limit_of_expired_jobs_is_recovered(add, long_uptime):
    for _ in range(3):
        expired(add)
    assert [len(recovery.recover_expired(limit=2)), len(recovery.recover_expired(limit=2))] == [2, 1]


def test_only_jobs_that_finished_long_ago_are_purged_and_at_most_the_limit(add):
    for state in (SUCCEEDED, DEAD, CANCELLED):
        add(state=state, finished_at=LONG_AGO)
    kept = {
        add(state=SUCCEEDED, finished_at=datetime.now(UTC) - timedelta(days=13)).id,
        add(state=QUEUED, finished_at=LONG_AGO).id,
        running(add).id,
    }
    assert [Job.purge(14, limit=2), Job.purge(14, limit=2), Job.purge(14, limit=2)] == [2, 1, 0]
    assert {job.id for job in Job.select()} == kept


def test_a_job_is_found_by_its_id(add):
    add()
    job = add()
    assert Job.find(job.id).id == job.id
    with pytest.raises(JobNotFound):
        Job.find(uuid4())


def test_the_listing_is_newest_first_and_filtered(add):
    first, second, third = add(), add(state=DEAD, queue="mail"), add(name="job.purge")
    listed = {
        "all": Job.listing(),
        "two": Job.listing(limit=2),
        "dead": Job.listing(state=DEAD),
        "mail": Job.listing(queue="mail"),
        "named": Job.listing(name="job.purge"),
        "none": Job.listing(name="job.purge", state=DEAD),
    }
    assert {what: [job.id for job in jobs] for what, jobs in listed.items()} == {
        "all": [third.id, second.id, first.id],
        "two": [third.id, second.id],
        "dead": [second.id],
        "mail": [second.id],
        "named": [third.id],
        "none": [],
    }


@pytest.mark.parametrize("state", [DEAD, CANCELLED])
def test_a_retried_job_starts_clean_and_other_jobs_stay_as_they_ended(add, state):
    ended = {"state": state, "epoch": 4, "failures": 3, "error": "it broke", "cancel_requested": True}
    times = {"finished_at": LONG_AGO, "due_at": LONG_AGO, "sent_at": LONG_AGO}
    job, other = add(**ended, **times), add(**ended, **times)
    Job.retry(job.id)
    row = reload(job)
    assert (row.state, row.epoch, row.failures, row.error, row.cancel_requested) == (QUEUED, 4, 0, None, False)
    assert row.finished_at is None
    assert row.due_at == row.sent_at > LONG_AGO
    assert (reload(other).state, reload(other).finished_at) == (state, LONG_AGO)


def test_cancelling_ends_a_queued_job_and_only_asks_a_running_one(add):
    waiting, working, other = add(), running(add), add()
    Job.cancel(waiting.id)
    Job.cancel(working.id)
    assert reload(waiting).finished_at > LONG_AGO
    assert (reload(working).finished_at, reload(working).cancel_requested) == (None, True)
    assert (reload(other).state, reload(other).cancel_requested) == (QUEUED, False)
