"""The relay: events of finished runs, the event stream as a WSGI body, slots, and waiting for the terminal event."""

import json
import time

import falcon
import gevent
import peewee
import pytest
from playhouse.pool import MaxConnectionsExceeded

from edge import metrics, relay
from models.platform.limits import QuotaExceeded
from models.runs.progress import Entry
from models.runs.run import Run


def test_a_finished_run_comes_from_redis_in_one_batch(hub, write, end):
    write(1, 2, 3)
    ended = end()
    assert [[entry.sequence for entry in batch] for batch in relay.batches(ended, 1, hub)] == [[2, 3, 9]]
    assert hub.greenlets == [], "a finished run needs no reader"


@pytest.mark.parametrize("after", [0, 8])
def test_a_terminal_event_that_redis_lost_comes_from_postgres(hub, end_in_postgres, after):
    ended = end_in_postgres()
    [last] = [entry for batch in relay.batches(ended, after, hub) for entry in batch]
    assert (last.sequence, last.terminal, last.kind) == (9, True, ended.terminal["kind"].encode())
    assert json.loads(last.data) == ended.terminal


def test_a_client_that_has_the_terminal_event_gets_nothing_more(hub, end_in_postgres):
    assert list(relay.batches(end_in_postgres(), 9, hub)) == []


def test_the_frames_of_both_kinds_of_streams():
    entry = Entry(7, b"delta", b'{"a":1}', False)
    assert relay.chat_frame(entry) == b'data: {"a":1}\n\nid: 7\n\n'
    assert relay.run_frame(entry) == b'id: 7\nevent: delta\ndata: {"a":1}\n\n'


class Slot:
    def __init__(self):
        self.calls = []

    def renew(self):
        self.calls.append("renew")

    def release(self):
        self.calls.append("release")


def stream_of(*batches, **options):
    """An event stream of these batches."""
    return relay.Body((batch for batch in batches), relay.run_frame, **{"slot": None, "principal": None, **options})


def open_streams():
    return metrics.STREAMS._value.get()


def test_a_stream_opens_at_once_then_sends_frames_and_heartbeats():
    entries = [Entry(1, b"a", b"{}", False), Entry(2, b"b", b"{}", True)]
    before = open_streams()
    stream = stream_of([], entries)
    assert open_streams() == before + 1
    assert list(stream) == [b": open\n\n", b": alive\n\n", b"".join(map(relay.run_frame, entries))]
    stream.close()
    assert open_streams() == before


def test_a_stream_that_nobody_read_releases_its_slot():
    slot = Slot()
    stream_of([], slot=slot).close()
    assert slot.calls == ["release"]


def test_a_stream_that_fails_to_close_still_releases_its_slot():
    def failing():
        try:
            yield []
        finally:
            raise RuntimeError("odd")

    slot, before = Slot(), open_streams()
    stream = relay.Body(failing(), relay.run_frame, slot, None)
    assert [next(stream), next(stream)] == [b": open\n\n", b": alive\n\n"]
    with pytest.raises(RuntimeError):
        stream.close()
    assert (slot.calls, open_streams()) == (["release"], before)


def test_a_stream_checks_its_session_from_time_to_time():
    answers, slot = [False, True, True], Slot()
    stream = stream_of(*[[]] * 9, slot=slot, session_alive=lambda principal: answers.pop())
    assert [next(stream), next(stream)] == [b": open\n\n", b": alive\n\n"]
    assert (slot.calls, len(answers)) == ([], 3), "the first check is not due yet"
    for left in (2, 1):
        stream.next_check = time.monotonic()
        assert next(stream) == b": alive\n\n"
        assert len(answers) == left
        assert 14 < stream.next_check - time.monotonic() <= relay.CHECK_SECONDS
    stream.next_check = 0
    assert list(stream) == []
    assert slot.calls == ["renew"] * 3


@pytest.mark.parametrize("error", [peewee.OperationalError("away"), MaxConnectionsExceeded("busy")])
def test_a_stream_goes_on_while_the_session_cannot_be_checked(error):
    def away(principal):
        raise error

    stream = stream_of([], session_alive=away)
    next(stream)
    stream.next_check = 0
    assert next(stream) == b": alive\n\n"


def test_following_answers_with_a_stream_that_no_proxy_buffers(hub, run, person, write, end):
    resp = falcon.Response()
    relay.follow(resp, run, person("owner"), after=3, frame=relay.chat_frame, hub=hub)
    assert resp.content_type == "text/event-stream; charset=utf-8"
    assert {name: resp.get_header(name) for name in ("Cache-Control", "X-Accel-Buffering", "X-Run-Id")} == {
        "Cache-Control": "no-store, no-transform",
        "X-Accel-Buffering": "no",
        "X-Run-Id": str(run.id),
    }
    write(3, 4)
    end()
    assert next(resp.stream) == b": open\n\n"
    assert b"".join(resp.stream).startswith(b'data: {"n":4}\n\nid: 4\n\ndata: ')
    resp.stream.close()


def test_a_slot_counts_the_streams_of_one_caller(clean, person, configure):
    configure(chat_stream_concurrent_limit=1)
    caller, other_caller = person(), person()
    with relay.slot(caller) as slot:
        assert slot
    with relay.slot(other_caller) as other_slot:
        assert other_slot
    with pytest.raises(QuotaExceeded) as error, relay.slot(caller):
        pass
    assert "chat_stream_concurrency" in json.dumps(error.value.details)
    slot.release()
    with relay.slot(caller) as free_slot:
        assert free_slot


def test_waiting_returns_the_terminal_event(hub, run, write, end):
    write(1, 2)
    waiter = gevent.spawn(relay.wait, run, 5, hub)
    gevent.sleep(0.05)
    ended = end()
    assert waiter.get() == ended.terminal


def test_waiting_too_long_raises_and_the_run_goes_on(hub, run, write):
    write(1)
    with pytest.raises(relay.RunStillRunning) as error:
        relay.wait(run, 0.1, hub)
    assert (error.value.details, error.value.headers) == ({"run_id": str(run.id)}, {"X-Run-Id": str(run.id)})
    assert hub.watched == {}
    assert Run.get_by_id(run.id).state == "queued"


def test_a_run_that_ended_before_it_began_has_its_terminal_event_at_number_one(hub, run, end):
    """As a run that is cancelled while it is queued: waiting and following must begin before the first number."""
    waiter = gevent.spawn(relay.wait, run, 5, hub)
    gevent.sleep(0.05)
    ended = end(number=1)
    assert waiter.get() == ended.terminal
    resp = falcon.Response()
    relay.follow(resp, ended, None, hub=hub)
    assert b'"is_terminal":true' in b"".join(resp.stream)
    resp.stream.close()


def test_a_finished_run_is_read_in_batches_of_the_hub(make_hub, write, end):
    write(1, 2, 3)
    ended = end()
    numbers = [[entry.sequence for entry in batch] for batch in relay.batches(ended, 0, make_hub(batch=2))]
    assert numbers == [[1, 2], [3, 9]]


def test_without_redis_a_finished_run_ends_within_seconds(hub, end, configure):
    ended = end()
    configure(redis_url="redis://127.0.0.1:1/0")
    began = time.monotonic()
    assert [entry.sequence for batch in relay.batches(ended, 0, hub) for entry in batch] == [9]
    assert time.monotonic() - began < 3, "the client that waits for Redis to return was used"


def test_a_stream_of_another_hub_is_left_alone(hub, make_hub, run, person, write, end):
    other = make_hub()
    resp, slot = falcon.Response(), Slot()
    relay.follow(resp, run, person("owner"), slot=slot, hub=hub)
    reading = gevent.spawn(list, resp.stream)
    gevent.sleep(0.05)
    assert (len(hub.watched), other.watched) == (1, {})
    end()
    assert reading.get()[0] == relay.OPEN
    resp.stream.close()
    assert slot.calls == ["release"]


def test_the_session_of_the_follower_is_the_one_that_is_checked(person):
    principal, checked = person(), []
    stream = stream_of([], [], session_alive=lambda who: checked.append(who) or True, principal=principal)
    next(stream)
    stream.next_check = 0
    next(stream)
    assert checked == [principal]
