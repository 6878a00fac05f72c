"""The ledger: who owns a job, and what becomes of it."""

import threading
import time

import pytest

from models.jobs.ledger import DEAD, QUEUED, RUNNING, Job, JobFinished, JobNotRetryable, LeaseLost
from models.platform.database import database, release, transaction
from models.runs.run import Run
from workers import jobs
from workers.broker import broker

KIND = jobs.Job("noop", queue="housekeeping", retries=1)


@pytest.fixture
def job(clean):
    with transaction():
        return jobs.enqueue(KIND)


def test_a_job_is_sent_only_after_its_transaction_commits(clean):
    with transaction():
        jobs.enqueue(KIND)
        assert broker.backlog("housekeeping") == 0
    assert broker.backlog("housekeeping") == 1


def test_a_job_of_a_rolled_back_transaction_is_never_sent(clean):
    with pytest.raises(RuntimeError), transaction():
        jobs.enqueue(KIND)
        raise RuntimeError("the request failed")
    assert broker.backlog("housekeeping") == 0
    assert Job.select().count() == 0


def test_of_many_claims_at_once_exactly_one_wins(job):
    won = []

    def claim(name):
        won.append(Job.claim(job.id, name, 3))
        release()

    threads = [threading.Thread(target=claim, args=(f"worker-{n}",)) for n in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len([row for row in won if row]) == 1


def test_an_expired_lease_is_up_for_claim_and_the_first_owner_can_no_longer_finish(job):
    first = Job.claim(job.id, "first", 0.05)
    time.sleep(0.1)
    second = Job.claim(job.id, "second", 3)
    assert (second.epoch, second.failures) == (2, 1)
    with pytest.raises(LeaseLost), first.finish():
        pass
    with second.finish():
        pass
    assert Job.get_by_id(job.id).state == "succeeded"


def test_nothing_of_the_finishing_transaction_stays_when_the_lease_was_lost(job):
    first = Job.claim(job.id, "first", 0.05)
    time.sleep(0.1)
    Job.claim(job.id, "second", 3)
    with pytest.raises(LeaseLost), first.finish():
        jobs.enqueue(KIND)
    assert Job.select().count() == 1


def test_renewing_keeps_what_is_still_owned_and_tells_of_cancels(job):
    Job.claim(job.id, "me", 3)
    Job.cancel(job.id)
    assert Job.renew("me", [job.id], 3) == {job.id: (1, True)}
    assert Job.renew("you", [job.id], 3) == {}


def test_the_reaper_queues_the_job_of_a_vanished_worker_and_buries_it_after_too_many(job, monkeypatch):
    old_server()
    Job.claim(job.id, "gone", 0.01)
    time.sleep(0.05)
    broker.client.flushdb()
    assert jobs.reap() == 1
    assert Job.get_by_id(job.id).state == QUEUED
    assert broker.client.llen("jobs:housekeeping") == 1
    Job.claim(job.id, "gone again", 0.01)
    time.sleep(0.05)
    jobs.reap()
    row = Job.get_by_id(job.id)
    assert (row.state, row.error) == (DEAD, "the worker vanished")


def test_a_lost_message_is_sent_again_by_the_sweeper(job):
    broker.client.flushdb()
    assert jobs.sweep() == 0, "it may still be on its way"
    Job.update(sent_at=Job.sent_at - _seconds(10)).execute()
    assert jobs.sweep() == 1
    assert jobs.sweep() == 0, "once is enough"


def test_a_failed_job_waits_for_its_back_off_and_is_then_sent(job):
    row = Job.claim(job.id, "me", 3)
    row.retry_later("it broke", 0.2)
    broker.client.flushdb()
    assert Job.claim(job.id, "me", 3) is None
    assert jobs.sweep() == 0
    time.sleep(0.25)
    assert jobs.sweep() == 1
    assert Job.claim(job.id, "me", 3).failures == 1


def test_a_job_handed_back_at_shutdown_has_not_failed(job):
    Job.claim(job.id, "me", 3).hand_back()
    row = Job.get_by_id(job.id)
    assert (row.state, row.failures, row.epoch) == (QUEUED, 0, 1)


def test_cancelling_a_queued_job_ends_it_and_a_running_one_is_only_asked(job):
    assert Job.cancel(job.id).state == "cancelled"
    assert Job.cancel(job.id).state == "cancelled", "twice is the same as once"
    assert Job.claim(job.id, "me", 3) is None
    with transaction():
        other = jobs.enqueue(KIND)
    Job.claim(other.id, "me", 3)
    assert Job.cancel(other.id).state == RUNNING


def test_only_what_ended_badly_can_be_retried_and_only_what_lives_can_be_cancelled(job):
    with pytest.raises(JobNotRetryable):
        jobs.retry(job.id)
    with Job.claim(job.id, "me", 3).finish():
        pass
    with pytest.raises(JobFinished):
        Job.cancel(job.id)


def test_a_chat_is_not_retried_while_its_conversation_answers_something_else(person, ask):
    me = person()
    first = ask(me, "One", "mine")
    row = Job.get(Job.run_id == first.id)
    with transaction():
        Job.update(state="dead").where(Job.id == row.id).execute()
        Run.close(first.id, "failed", "internal_error", "It broke.")
    second = ask(me, "Two", "mine")
    with pytest.raises(JobNotRetryable, match="answering something else"):
        jobs.retry(row.id)
    assert (Job.get_by_id(row.id).state, Run.get_by_id(first.id).state) == ("dead", "failed")
    assert Run.get_by_id(second.id).state == "queued"


def test_an_operator_retry_queues_a_dead_job_with_a_clean_slate(job):
    with Job.claim(job.id, "me", 3).finish(DEAD, "no good"):
        pass
    broker.client.flushdb()
    row = jobs.retry(job.id)
    assert (row.state, row.failures, row.epoch, row.error) == (QUEUED, 0, 1, None)
    assert broker.backlog("housekeeping") == 1


def _seconds(count):
    from datetime import timedelta

    return timedelta(seconds=count)


def old_server():
    """The reaper judges no lease in the first seconds of a Postgres server: wait until ours is old enough."""
    age = "select extract(epoch from now() - pg_postmaster_start_time())"
    while (seconds := float(database.execute_sql(age).fetchone()[0])) < 5.1:
        time.sleep(5.2 - seconds)
