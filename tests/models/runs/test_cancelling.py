"""Cancelling: who may ask for it, who ends the run, and that its terminal event is sent once."""

import pytest
import redis

from models.conversations.conversation import Conversation
from models.jobs import recovery
from models.jobs.ledger import Job
from models.platform.database import transaction
from models.runs import progress
from models.runs.run import Run
from workers import jobs, runtime
from workers.heartbeat import OWNER, heartbeat
from workers.jobs import CHAT_RUN
from workers.lease import Cancelled


def job_of(run):
    return Job.get(Job.run_id == run.id)


def terminal_events(run):
    return [entry.kind for entry in progress.read(run.id) if entry.terminal]


def test_an_operator_who_cancels_a_queued_job_ends_its_run(person, ask):
    run = ask(person())
    assert jobs.cancel(job_of(run).id).state == "cancelled"
    assert Run.get_by_id(run.id).state == "cancelled"
    assert terminal_events(run) == [b"lifecycle"]
    assert Job.select().count() == 1, "no other job has to end the run"


def test_an_operator_who_cancels_a_running_job_leaves_its_run_to_the_worker(person, ask):
    run = ask(person())
    Job.claim(job_of(run).id, "worker", 3)
    assert jobs.cancel(job_of(run).id).state == "running"
    assert (Run.get_by_id(run.id).state, Run.get_by_id(run.id).cancel_requested) == ("queued", True)
    assert terminal_events(run) == []


def test_the_worker_that_sees_the_request_ends_the_job_and_the_run(person, ask):
    me = person()
    run = ask(me)

    def actor(lease):
        Run.cancel(me, run.id)
        heartbeat.renew_leases()
        with pytest.raises(Cancelled):
            lease.checkpoint()
        lease.checkpoint()

    runtime.execute(CHAT_RUN, actor, str(job_of(run).id))
    assert job_of(run).state == "cancelled"
    stored = Run.get_by_id(run.id)
    assert (stored.state, stored.terminal_sequence) == ("cancelled", progress.EPOCH_SIZE)
    assert terminal_events(run) == [b"lifecycle"]


def test_a_worker_that_dies_after_the_request_leaves_the_run_to_the_scheduler(person, ask, monkeypatch):
    statement = recovery.RECOVER_EXPIRED.replace("interval '5 seconds'", "interval '0 seconds'")
    monkeypatch.setattr(recovery, "RECOVER_EXPIRED", statement)
    me = person()
    run = ask(me)
    Job.claim(job_of(run).id, OWNER, -1)
    Run.cancel(me, run.id)
    assert jobs.recover_expired() == 1
    assert (job_of(run).state, Run.get_by_id(run.id).state) == ("cancelled", "cancelled")
    assert terminal_events(run) == [b"lifecycle"]


def test_deleting_a_conversation_ends_a_run_that_a_worker_is_busy_with(person, ask):
    me = person("admin")
    run = ask(me, conversation_id="gone")
    Job.claim(job_of(run).id, "worker", 3)
    Conversation.remove(me, "gone")
    assert (job_of(run).state, job_of(run).cancel_requested) == ("running", True)
    assert terminal_events(run) == [b"lifecycle"]


def test_a_cancel_succeeds_while_redis_is_down_and_the_end_is_in_the_database(person, ask, monkeypatch):
    me = person()
    run = ask(me)
    monkeypatch.setattr(progress, "fast_redis_client", lambda: redis.Redis(port=1, retry=None))
    assert Run.cancel(me, run.id).state == "cancelled"
    assert terminal_events(run) == []
    assert [ended.id for ended in Run.resting_among([run.id])] == [run.id], "what the relay looks up"
    progress.send_terminal(Run.get_by_id(run.id))
    assert terminal_events(run) == [b"lifecycle"]


def test_stopping_a_run_that_has_ended_changes_nothing(person, ask):
    me = person()
    run = ask(me)
    for expected in (run.id, None):
        with transaction():
            closed = Run.stop(run.id)
        assert (closed and closed.id) == expected
