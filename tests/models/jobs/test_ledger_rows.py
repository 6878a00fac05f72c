"""The ledger among other rows: each verb changes the job that it means, all of it, and no other."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

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
def judged(monkeypatch):
    """As if Postgres had been up for long: the reaper judges every lease."""
    from models.jobs import ledger

    monkeypatch.setattr(ledger, "SQL", lambda _: ledger.Job.id.is_null(False))


def again(job):
    return Job.get_by_id(job.id)


def running(add, **columns):
    return add(state=RUNNING, epoch=1, owner="me", lease_until=LONG_AGO + timedelta(days=36500), **columns)


def lapsed(add, **columns):
    return add(state=RUNNING, epoch=1, owner="gone", lease_until=LONG_AGO, due_at=LONG_AGO, sent_at=LONG_AGO, **columns)


def test_renewing_moves_the_end_of_the_lease(add):
    job = add()
    before = Job.claim(job.id, "me", 1).lease_until
    Job.renew("me", [job.id], 60)
    assert again(job).lease_until > before + timedelta(seconds=50)


@pytest.mark.parametrize("leave", [Job.hand_back, lambda job: job.retry_later("it broke", 5)])
def test_leaving_a_job_touches_that_one_only(add, leave):
    mine, other, waiting = running(add), running(add), add()
    leave(mine)
    assert (again(mine).state, again(mine).owner, again(mine).lease_until) == (QUEUED, None, None)
    assert (again(other).state, again(other).owner) == (RUNNING, "me")
    assert again(waiting).due_at == waiting.due_at


@pytest.mark.parametrize("leave", [Job.hand_back, lambda job: job.retry_later("it broke", 5), Job.end])
def test_who_has_lost_the_job_cannot_leave_or_end_it_and_is_told_which(add, leave):
    old = running(add)
    Job.update(epoch=2).where(Job.id == old.id).execute()
    with pytest.raises(LeaseLost, match=str(old.id)):
        leave(old)
    assert (again(old).state, again(old).epoch) == (RUNNING, 2)


@pytest.mark.parametrize("leave", [Job.hand_back, lambda job: job.retry_later("it broke", 5), Job.end])
def test_what_was_ended_from_outside_is_not_reopened(add, leave):
    job = running(add)
    Job.update(state=DEAD).where(Job.id == job.id).execute()
    with pytest.raises(LeaseLost):
        leave(job)
    assert again(job).state == DEAD


def test_ending_is_known_to_the_row_in_hand(add):
    job = running(add)
    job.end(CANCELLED, "enough")
    row = again(job)
    assert job.state == row.state == CANCELLED
    assert (row.error, row.owner, row.lease_until) == ("enough", None, None)


def test_a_job_handed_back_is_due_and_counts_as_sent_now(add):
    job = running(add, due_at=LONG_AGO, sent_at=LONG_AGO)
    job.hand_back()
    assert again(job).due_at == again(job).sent_at > LONG_AGO


def test_a_retry_waits_with_its_reason_and_is_not_swept_meanwhile(add):
    job = running(add, due_at=LONG_AGO, sent_at=LONG_AGO)
    job.retry_later("it broke", 60)
    row = again(job)
    assert (row.error, row.failures) == ("it broke", 1)
    assert row.due_at == row.sent_at > datetime.now(UTC) + timedelta(seconds=50)


def test_the_sweeper_takes_the_longest_unsent_first_and_no_more_than_asked(add):
    older, old, fresh = (add(due_at=LONG_AGO, sent_at=LONG_AGO + timedelta(days=n)) for n in (0, 1, 2))
    taken = Job.take_unsent(5, ["housekeeping"], limit=2)
    assert {job.id for job in taken} == {older.id, old.id}
    assert {job.name for job in taken} == {"noop"}, "whole rows, to be sent"
    assert again(older).sent_at > LONG_AGO + timedelta(days=1000)
    assert again(fresh).sent_at == fresh.sent_at


def test_the_sweeper_leaves_what_is_not_due_not_late_or_of_another_queue(add):
    add(due_at=LONG_AGO)
    add(sent_at=LONG_AGO, due_at=datetime.now(UTC) + timedelta(hours=1))
    add(sent_at=LONG_AGO, due_at=LONG_AGO, queue="mail")
    running(add, sent_at=LONG_AGO, due_at=LONG_AGO)
    assert Job.take_unsent(5, ["housekeeping"]) == []


def test_a_back_off_that_has_ended_is_taken_once_and_only_of_jobs_that_failed(add):
    ended = add(failures=1, due_at=LONG_AGO, sent_at=LONG_AGO)
    add(failures=0, due_at=LONG_AGO, sent_at=LONG_AGO)
    add(failures=1, due_at=LONG_AGO, sent_at=LONG_AGO + timedelta(days=1))
    taken = Job.take_due()
    assert [(job.id, job.name) for job in taken] == [(ended.id, "noop")]
    assert Job.take_due() == []


def test_no_more_back_offs_are_taken_than_asked(add):
    for _ in range(3):
        add(failures=1, due_at=LONG_AGO, sent_at=LONG_AGO)
    assert [len(Job.take_due(limit=2)), len(Job.take_due(limit=2))] == [2, 1]


@pytest.mark.parametrize("take", [Job.take_due, lambda: Job.take_unsent(5, ["housekeeping"]), Job.reap])
def test_what_another_scheduler_is_taking_is_passed_over_without_waiting(add, judged, take):
    from threading import Thread

    from models.platform.database import database, release

    add(failures=1, due_at=LONG_AGO, sent_at=LONG_AGO)
    lapsed(add)
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


def test_the_reaper_takes_back_lapsed_leases_only(add, judged):
    gone, alive, waiting = lapsed(add), running(add), add(due_at=LONG_AGO)
    assert [job.id for job in Job.reap()] == [gone.id]
    assert (again(alive).state, again(alive).owner) == (RUNNING, "me")
    assert (again(waiting).state, again(waiting).due_at) == (QUEUED, LONG_AGO)


def test_a_reaped_job_is_queued_again_due_now_with_one_failure_more(add, judged):
    job = lapsed(add, failures=1)
    assert [row.name for row in Job.reap()] == ["noop"]
    row = again(job)
    assert (row.state, row.failures, row.owner, row.lease_until) == (QUEUED, 2, None, None)
    assert row.due_at == row.sent_at > LONG_AGO
    assert row.finished_at is None


def test_a_reaped_job_that_failed_too_often_is_dead_and_says_when_and_why(add, judged):
    job = lapsed(add, failures=2)
    Job.reap()
    row = again(job)
    assert (row.state, row.failures, row.error) == (DEAD, 3, "the worker vanished")
    assert row.finished_at > LONG_AGO


def test_a_reaped_job_whose_cancel_was_asked_for_is_cancelled(add, judged):
    job = lapsed(add, cancel_requested=True)
    Job.reap()
    assert again(job).state == CANCELLED
    assert again(job).finished_at > LONG_AGO


def test_the_reaper_takes_no_more_than_asked(add, judged):
    for _ in range(3):
        lapsed(add)
    assert [len(Job.reap(limit=2)), len(Job.reap(limit=2))] == [2, 1]


def test_only_what_ended_long_enough_ago_is_purged_batch_by_batch(add):
    for state in (SUCCEEDED, DEAD, CANCELLED):
        add(state=state, finished_at=LONG_AGO)
    kept = {
        add(state=SUCCEEDED, finished_at=datetime.now(UTC) - timedelta(days=13)).id,
        add(state=QUEUED, finished_at=LONG_AGO).id,
        running(add).id,
    }
    assert [Job.purge(14, batch=2), Job.purge(14, batch=2), Job.purge(14, batch=2)] == [2, 1, 0]
    assert {job.id for job in Job.select()} == kept


def test_a_job_is_found_by_its_id_and_an_unknown_one_is_said_to_be(add):
    add()
    job = add()
    assert Job.get_known(job.id).id == job.id
    with pytest.raises(JobNotFound):
        Job.get_known(uuid4())


def test_the_listing_is_newest_first_and_filtered_by_what_is_given(add):
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
def test_a_revived_job_starts_with_a_clean_slate_and_the_others_stay_as_they_ended(add, state):
    ended = {"state": state, "epoch": 4, "failures": 3, "error": "it broke", "cancel_requested": True}
    times = {"finished_at": LONG_AGO, "due_at": LONG_AGO, "sent_at": LONG_AGO}
    job, other = add(**ended, **times), add(**ended, **times)
    Job.revive(job.id)
    row = again(job)
    assert (row.state, row.epoch, row.failures, row.error, row.cancel_requested) == (QUEUED, 4, 0, None, False)
    assert row.finished_at is None
    assert row.due_at == row.sent_at > LONG_AGO
    assert (again(other).state, again(other).finished_at) == (state, LONG_AGO)


def test_a_cancelled_job_says_when_it_ended_and_a_running_one_has_not_ended(add):
    waiting, working, other = add(), running(add), add()
    Job.cancel(waiting.id)
    Job.cancel(working.id)
    assert again(waiting).finished_at > LONG_AGO
    assert (again(working).finished_at, again(working).cancel_requested) == (None, True)
    assert (again(other).state, again(other).cancel_requested) == (QUEUED, False)


def test_the_backlog_counts_what_has_not_ended_well_by_queue_and_state(add):
    from models.jobs.ledger import backlog

    add(queue="mail", due_at=LONG_AGO + timedelta(days=1))
    add(queue="mail", due_at=LONG_AGO)
    running(add, queue="mail", due_at=LONG_AGO)
    add(queue="agents", state=DEAD, due_at=LONG_AGO)
    for state in (SUCCEEDED, CANCELLED):
        add(state=state)
    assert backlog() == [
        ("agents", DEAD, 1, LONG_AGO),
        ("mail", QUEUED, 2, LONG_AGO),
        ("mail", RUNNING, 1, LONG_AGO),
    ]
