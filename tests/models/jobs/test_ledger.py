"""The ledger: who owns a job, and how it ends."""

import threading
import time
from datetime import timedelta

import pytest

from models.jobs.ledger import DEAD, QUEUED, RUNNING, Job, JobFinished, JobNotRetryable, LeaseLost
from models.platform.database import database, release, transaction
from models.runs.run import Run
from workers import jobs
from workers.broker import broker

KIND = jobs.JobKind("noop", queue="housekeeping", retries=1)


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


def test_only_one_of_many_concurrent_claims_succeeds(job):
    claims = []

    def claim(name):
        claims.append(Job.claim(job.id, name, 3))
        release()

    threads = [threading.Thread(target=claim, args=(f"worker-{n}",)) for n in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len([claimed for claimed in claims if claimed]) == 1


def test_a_job_with_an_expired_lease_can_be_claimed_and_its_first_owner_cannot_finish_it(job):
    first = Job.claim(job.id, "first", 0.05)
    time.sleep(0.1)
    second = Job.claim(job.id, "second", 3)
    assert (second.epoch, second.failures) == (2, 1)
    with pytest.raises(LeaseLost):
        first.finish()
    second.finish()
    assert Job.get_by_id(job.id).state == "succeeded"


def test_a_worker_that_lost_its_job_cannot_write_anything_with_its_end(job):
    first = Job.claim(job.id, "first", 0.05)
    time.sleep(0.1)
    Job.claim(job.id, "second", 3)
    with pytest.raises(LeaseLost), transaction():
        jobs.enqueue(KIND)
        first.finish()
    assert Job.select().count() == 1


def test_renewing_extends_owned_leases_and_reports_cancel_requests(job):
    Job.claim(job.id, "me", 3)
    Job.cancel(job.id)
    assert Job.renew("me", [job.id], 3) == {job.id: (1, True)}
    assert Job.renew("you", [job.id], 3) == {}


def test_the_job_of_a_dead_worker_is_queued_again_and_dies_after_too_many_failures(job):
    wait_until_leases_can_expire()
    Job.claim(job.id, "gone", 0.01)
    time.sleep(0.05)
    broker.client.flushdb()
    assert jobs.recover_expired() == 1
    assert Job.get_by_id(job.id).state == QUEUED
    assert broker.client.llen("jobs:housekeeping") == 1
    Job.claim(job.id, "gone again", 0.01)
    time.sleep(0.05)
    jobs.recover_expired()
    row = Job.get_by_id(job.id)
    assert (row.state, row.error) == (DEAD, "the worker vanished")


def test_a_job_whose_message_was_lost_is_sent_again_once(job):
    broker.client.flushdb()
    assert jobs.resend_unclaimed() == 0, "it may still be on its way"
    Job.update(sent_at=Job.sent_at - timedelta(seconds=10)).execute()
    assert jobs.resend_unclaimed() == 1
    assert jobs.resend_unclaimed() == 0, "once is enough"


def test_a_failed_job_is_sent_again_when_its_back_off_is_over(job):
    row = Job.claim(job.id, "me", 3)
    row.retry_later("it broke", 0.2)
    broker.client.flushdb()
    assert Job.claim(job.id, "me", 3) is None
    assert jobs.resend_unclaimed() == 0
    time.sleep(0.25)
    assert jobs.resend_unclaimed() == 1
    assert Job.claim(job.id, "me", 3).failures == 1


def test_a_job_released_at_shutdown_has_not_failed(job):
    Job.claim(job.id, "me", 3).release()
    row = Job.get_by_id(job.id)
    assert (row.state, row.failures, row.epoch) == (QUEUED, 0, 1)


def test_a_cancel_ends_a_queued_job_at_once_and_only_asks_a_running_one_to_stop(job):
    assert Job.cancel(job.id).state == "cancelled"
    assert Job.cancel(job.id).state == "cancelled", "a cancel may be repeated"
    assert Job.claim(job.id, "me", 3) is None
    with transaction():
        other = jobs.enqueue(KIND)
    Job.claim(other.id, "me", 3)
    assert Job.cancel(other.id).state == RUNNING


def test_a_queued_job_cannot_be_retried_and_a_finished_one_cannot_be_cancelled(job):
    with pytest.raises(JobNotRetryable):
        jobs.retry(job.id)
    Job.claim(job.id, "me", 3).finish()
    with pytest.raises(JobFinished):
        Job.cancel(job.id)


def test_a_chat_is_not_retried_while_another_run_is_active_in_its_conversation(person, ask):
    me = person()
    first = ask(me, "One", "mine")
    row = Job.get(Job.run_id == first.id)
    with transaction():
        Job.update(state="dead").where(Job.id == row.id).execute()
        Run.close(first.id, "failed", "internal_error", "It broke.")
    second = ask(me, "Two", "mine")
    with pytest.raises(JobNotRetryable, match="Another run is active"):
        jobs.retry(row.id)
    assert (Job.get_by_id(row.id).state, Run.get_by_id(first.id).state) == ("dead", "failed")
    assert Run.get_by_id(second.id).state == "queued"


def test_a_retry_by_an_operator_queues_a_dead_job_and_forgets_its_failures(job):
    Job.claim(job.id, "me", 3).finish(DEAD, "no good")
    broker.client.flushdb()
    row = jobs.retry(job.id)
    assert (row.state, row.failures, row.epoch, row.error) == (QUEUED, 0, 1, None)
    assert broker.backlog("housekeeping") == 1


def wait_until_leases_can_expire():
    """No lease is taken for expired in the first five seconds of a Postgres server."""
    age = "select extract(epoch from now() - pg_postmaster_start_time())"
    while (seconds := float(database.execute_sql(age).fetchone()[0])) < 5.1:
        time.sleep(5.2 - seconds)
