"""One stream with several writers: numbers, fences, repeats, and the end."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from models.jobs.ledger import Job, LeaseLost
from models.platform.database import transaction
from models.platform.redis import redis_client
from models.runs import events, progress
from models.runs.run import Run
from models.runs.shared_progress import Pending, SharedWriter


def event(text="x"):
    return Pending(events.event("raw_response", "c", text_delta=text))


def write(writer, *pending):
    writer.append(list(pending))
    writer.wait()


@pytest.fixture
def run(person, ask):
    return ask(person())


@pytest.fixture
def make_writer(run):
    """make_writer(epoch=1, job=...) -> a writer of a claim of a new job, or of this one."""

    def make(epoch=1, job=None, floor=0):
        if job is None:
            with transaction():
                job = Job.add(
                    name="noop", queue="agents", args={}, run_id=run.id, tenant_id=None, max_failures=1, exhausted=None
                )
        job.epoch = epoch
        Job.update(epoch=epoch).where(Job.id == job.id).execute()
        return SharedWriter(run.id, job, floor)

    return make


def stored(run):
    return [json.loads(entry.data) for entry in progress.read(run.id, count=10_000)]


def test_events_of_many_writers_get_ascending_numbers_and_each_writers_order_holds(run, make_writer):
    writers = [make_writer() for _ in range(8)]

    def work(number):
        for count in range(50):
            write(writers[number], event(f"{number}:{count}:a"), event(f"{number}:{count}:b"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    found = stored(run)
    assert [one["sequence_number"] for one in found] == list(range(1, 801))
    for number in range(8):
        own = [one["text_delta"] for one in found if one["text_delta"].startswith(f"{number}:")]
        assert own == [f"{number}:{count}:{part}" for count in range(50) for part in "ab"]


def test_the_number_in_an_event_is_that_of_its_entry(run, make_writer):
    write(make_writer(floor=7_000_000), event("ä€"), event())
    entries = progress.read(run.id)
    assert [entry.sequence for entry in entries] == [7_000_001, 7_000_002]
    assert [json.loads(entry.data)["sequence_number"] for entry in entries] == [7_000_001, 7_000_002]
    assert stored(run)[0]["text_delta"] == "ä€"


def test_a_job_that_was_claimed_again_writes_nothing_once_its_successor_has_written(run, make_writer):
    old, other = make_writer(), make_writer()
    write(old, event("old"))
    new = make_writer(2, Job.get_by_id(old.job.id))
    write(new, event("new"))
    with pytest.raises(LeaseLost):
        write(old, event("late"))
    write(other, event("other"))
    assert [one["text_delta"] for one in stored(run)] == ["old", "new", "other"]


def test_a_batch_that_is_sent_twice_is_written_once(run, make_writer):
    writer = make_writer()
    write(writer, event("a"))
    writer.stamp -= 1  # as a connection that breaks after the write repeats it
    write(writer, event("a"))
    write(writer, event("b"))
    assert [one["text_delta"] for one in stored(run)] == ["a", "b"]


def test_a_named_event_is_written_by_the_first_who_has_it(run, make_writer):
    first, second = make_writer(), make_writer()
    for writer in (first, second):
        write(writer, Pending(event("start").event, "start:0"), event("own"))
    assert [one["text_delta"] for one in stored(run)] == ["start", "own", "own"]


def test_nothing_follows_the_terminal_event(run, make_writer):
    writer = make_writer()
    write(writer, event("a"))
    with transaction():
        closed = Run.close(run.id, "cancelled", "cancelled", "Stop.")
    progress.send_terminal(closed)
    write(writer, event("late"))
    assert [one["is_terminal"] for one in stored(run)] == [False, True]


def test_the_end_of_an_earlier_life_that_is_sent_late_silences_nobody(run, make_writer):
    write(make_writer(), event("a"))
    with transaction():
        closed = Run.close(run.id, "failed", "internal_error", "Failed.")
    with transaction():
        Run.requeue(run.id)
    progress.send_terminal(closed)  # by a worker that was slow
    write(make_writer(floor=closed.terminal_sequence), event("again"))
    [again] = stored(run)
    assert (again["text_delta"], again["sequence_number"]) == ("again", closed.terminal_sequence + 1)


def test_numbers_go_on_above_those_that_a_writer_knows_when_redis_has_lost_the_stream(run, make_writer):
    writer = make_writer(floor=1000)
    write(writer, event(), event())
    redis_client().flushdb()
    write(writer, event())
    assert [one["sequence_number"] for one in stored(run)] == [1003]


def test_the_stream_and_the_hash_of_its_writers_expire(run, make_writer):
    write(make_writer(), event())
    for key in (progress.stream_key(run.id), progress.writers_key(run.id)):
        assert 0 < redis_client().ttl(key) <= progress.LIVE_SECONDS
    with transaction():
        closed = Run.close(run.id, "cancelled", "cancelled", "Stop.")
    progress.send_terminal(closed)
    for key in (progress.stream_key(run.id), progress.writers_key(run.id)):
        assert 0 < redis_client().ttl(key) <= 3600
