"""A run's stream: its numbers, who may write to it, and how it ends."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from models.jobs.ledger import Job, LeaseLost
from models.platform.database import transaction
from models.platform.ids import uuid7
from models.platform.redis import redis_client
from models.runs import events, progress
from models.runs.run import Run, RunFinished, RunNotFound


def test_events_can_be_read_from_any_cursor(clean):
    run = uuid7()
    progress.append(run, [(n, "raw_response", b'{"n":%d}' % n) for n in (1, 2, 3)]).wait()
    assert [entry.sequence for entry in progress.read(run)] == [1, 2, 3]
    assert progress.read(run, after=2)[0].data == b'{"n":3}'


def test_a_worker_that_lost_its_job_cannot_write_events(clean):
    run = uuid7()
    progress.append(run, [(1, "raw_response", b"{}")]).wait()
    progress.append(run, [(progress.first_sequence(2), "lifecycle", b"{}")]).wait()
    with pytest.raises(LeaseLost):
        progress.append(run, [(2, "raw_response", b"{}")]).wait()


def test_a_write_repeated_after_a_broken_connection_does_not_lose_the_lease(clean):
    run = uuid7()
    for _ in range(2):
        progress.append(run, [(1, "raw_response", b"{}"), (2, "raw_response", b"{}")]).wait()
    assert len(progress.read(run)) == 2


def test_a_terminal_event_that_is_sent_several_times_is_written_once(person, ask):
    run = ask(person())
    with transaction():
        run.finish("succeeded", events.succeeded("c", "triage", "hi", None), 5)
    for _ in range(3):
        progress.send_terminal(run)
    assert [(entry.sequence, entry.terminal) for entry in progress.read(run.id)] == [(5, True)]
    assert 0 < redis_client().ttl(progress.stream_key(run.id)) <= 3600


def test_a_cancel_ends_a_queued_run_at_once_and_may_be_repeated(person, ask):
    me = person()
    run = ask(me)
    assert Run.cancel(me, run.id).state == "cancelled"
    assert Run.cancel(me, run.id).state == "cancelled"
    assert [entry.terminal for entry in progress.read(run.id)] == [True]


def test_a_cancel_asks_the_worker_of_a_running_run_to_stop(person, ask):
    me = person()
    run = ask(me)
    job = Job.get(Job.run_id == run.id)
    Job.claim(job.id, "worker", 3)
    Run.cancel(me, run.id)
    assert Job.get_by_id(job.id).cancel_requested
    assert not Run.get_by_id(run.id).is_finished


def test_a_finished_run_cannot_be_cancelled_and_a_run_of_someone_else_is_not_found(person, ask):
    me = person()
    run = ask(me)
    with transaction():
        run.finish("succeeded", events.succeeded("c", "triage", "hi", None), 5)
    with pytest.raises(RunFinished):
        Run.cancel(me, run.id)
    with pytest.raises(RunNotFound):
        Run.cancel(person(), run.id)
    with pytest.raises(RunNotFound):
        Run.find(me, "no id at all")


def test_a_run_ends_only_once(person, ask):
    run = ask(person())
    with transaction():
        assert run.finish("succeeded", events.succeeded("c", "triage", "hi", None), 5)
    with transaction():
        assert Run.close(run.id, "failed", "late", "too late") is None
    assert Run.get_by_id(run.id).state == "succeeded"


def test_of_many_concurrent_writers_only_the_one_without_a_lease_is_refused(clean):
    runs = [uuid7() for _ in range(20)]
    progress.append(runs[0], [(progress.first_sequence(2), "lifecycle", b"{}")]).wait()

    def write(run):
        for n in range(1, 51):
            progress.append(run, [(n, "raw_response", b"{}")]).wait()

    with ThreadPoolExecutor(20) as pool:
        futures = [pool.submit(write, run) for run in runs]
    errors = [future.exception() for future in futures]
    assert isinstance(errors[0], LeaseLost)
    assert errors[1:] == [None] * 19
    for run in runs[1:]:
        assert [entry.sequence for entry in progress.read(run)] == list(range(1, 51))


def test_every_waiting_caller_gets_the_error_when_redis_is_down():
    writer = progress.Writer(lambda: redis.Redis(port=1, retry=None))
    command = ("XADD", "run:none", "1-0", "k", "raw_response")
    with ThreadPoolExecutor(5) as pool:
        futures = [pool.submit(writer.send([command]).wait) for _ in range(5)]
    assert all(isinstance(future.exception(), redis.ConnectionError) for future in futures)
