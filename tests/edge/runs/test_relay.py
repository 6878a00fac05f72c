"""The relay inside one process: the hub's reader runs on real Redis, in gevent's thread pool instead of a patched socket."""

import json
import time

import falcon
import gevent
import peewee
import pytest
import redis

from edge import hub as hubs
from edge import metrics, relay
from edge.hub import Hub
from models.platform.database import transaction
from models.platform.ids import uuid7
from models.platform.redis import redis_client
from models.runs import events, progress
from models.runs.progress import Entry
from models.runs.run import Run


@pytest.fixture(autouse=True)
def patience():
    """Who waits for what never comes fails soon."""
    with gevent.Timeout(10):
        yield


class Reader:
    """A Redis connection whose blocking read lets other greenlets run. `failures` are raised first."""

    def __init__(self, url):
        self.real, self.failures, self.reads = redis.Redis.from_url(url), [], []

    def xread(self, keys, **options):
        self.reads.append((keys, options))
        if self.failures:
            raise self.failures.pop()
        return gevent.get_hub().threadpool.apply(self.real.xread, (keys,), options)


@pytest.fixture
def reader(clean):
    from models.platform.settings import settings

    return Reader(settings.redis_url)


@pytest.fixture
def hub(reader):
    hub = Hub(lambda: reader)
    yield hub
    gevent.killall(hub.greenlets)
    redis_client().xadd(hub.control, {"w": 1})  # ends the read that the thread pool still does


@pytest.fixture
def run(person, ask):
    return ask(person())


def write(run, *numbers):
    progress.append(run.id, [(n, "raw_response", b'{"n":%d}' % n) for n in numbers]).wait()


def conclude(run, number=9):
    with transaction():
        run.finish("succeeded", events.succeeded("c", "triage", "hi", None), number)
    return Run.get_by_id(run.id)


def finish(run, number=9):
    done = conclude(run, number)
    progress.send_terminal(done)
    return done


def watch(hub, run, after=0):
    """A greenlet whose value are the numbers that a client sees, one list per batch that is not empty."""

    def look():
        return [[entry.sequence for entry in batch] for batch in relay.batches(run, after, hub) if batch]

    greenlet = gevent.spawn(look)
    gevent.sleep(0.05)
    return greenlet


def seen(greenlet, seconds=5):
    greenlet.join(seconds)
    assert greenlet.ready(), "the client still waits"
    return [number for batch in greenlet.get() for number in batch]


def test_a_client_sees_everything_once_and_in_order_until_the_end(hub, run):
    write(run, 1, 2)
    early = watch(hub, run)
    write(run, 3)
    gevent.sleep(0.05)
    late = watch(hub, run)
    write(run, 4)
    finish(run)
    assert seen(early) == seen(late) == [1, 2, 3, 4, 9]
    assert hub.watched == {}, "nobody is left behind"


def test_a_client_goes_on_behind_its_cursor(hub, run):
    write(run, 1, 2, 3)
    client = watch(hub, run, after=2)
    finish(run)
    assert seen(client) == [3, 9]


def test_a_cursor_beyond_the_end_gets_nothing_and_ends(hub, run):
    client = watch(hub, run, after=5000)
    write(run, 1)
    other = watch(hub, run)
    finish(run)
    assert seen(other) == [1, 9]
    assert seen(client) == []


def test_a_client_that_reads_too_slowly_reads_again_from_redis(hub, run, monkeypatch):
    monkeypatch.setattr(hubs, "MAILBOX", 3)
    monkeypatch.setattr(hubs, "BATCH", 4)
    monkeypatch.setattr(relay, "BATCH", 4)
    client = watch(hub, run)
    write(run, *range(1, 8))
    finish(run)
    assert seen(client) == [1, 2, 3, 4, 5, 6, 7, 9]


def test_a_mailbox_holds_so_much_and_then_nothing(monkeypatch):
    monkeypatch.setattr(hubs, "MAILBOX", 3)
    client = hubs.Client(uuid7(), must_read=False)
    client.quiet = 4
    one = Entry(1, b"k", b"{}", False)
    client.put([one, one])
    client.put([one])
    assert (client.quiet, client.must_read, client.take()) == (0, False, [one] * 3)
    client.put([one] * 4)
    assert (client.must_read, client.take()) == (True, [])


def test_a_run_that_ended_comes_from_redis_whole(hub, run):
    write(run, *range(1, 4))
    done = finish(run)
    assert [[e.sequence for e in batch] for batch in relay.batches(done, 1, hub)] == [[2, 3, 9]]
    assert hub.greenlets == [], "nothing has to be watched"


@pytest.mark.parametrize("after", [0, 8])
def test_where_redis_forgot_postgres_knows_the_end(hub, run, after):
    done = conclude(run)
    (last,) = [entry for batch in relay.batches(done, after, hub) for entry in batch]
    assert (last.sequence, last.terminal, last.kind) == (9, True, done.terminal["kind"].encode())
    assert json.loads(last.data) == done.terminal


def test_who_has_the_end_already_gets_nothing_more(hub, run):
    assert list(relay.batches(conclude(run), 9, hub)) == []


def test_without_redis_a_finished_run_still_tells_its_end(hub, run, monkeypatch):
    def away(*_, **__):
        raise redis.ConnectionError("away")

    monkeypatch.setattr(progress, "read", away)
    assert [entry.sequence for batch in relay.batches(finish(run), 0, hub) for entry in batch] == [9]


def test_the_reader_survives_whatever_happens_to_it(hub, reader, run):
    reader.failures = [redis.ConnectionError("away"), ValueError("odd")]
    client = watch(hub, run)
    finish(run)
    assert seen(client) == [9]
    assert reader.reads[-1][1] == {"count": relay.BATCH, "block": hubs.BLOCK_MILLISECONDS}


def test_a_lost_end_is_found_in_postgres_when_a_run_is_silent(hub, run, monkeypatch):
    monkeypatch.setattr(hubs, "TICK_SECONDS", 0.02)
    client = watch(hub, run)
    conclude(run)
    assert seen(client) == [9]


def test_the_watch_over_silent_runs_survives_a_database_that_is_away(hub, run, monkeypatch):
    answers = [peewee.OperationalError("away")]
    ask = Run.finished_among

    def finished_among(ids):
        if answers:
            raise answers.pop()
        return ask(ids)

    monkeypatch.setattr(hubs, "TICK_SECONDS", 0.02)
    monkeypatch.setattr(Run, "finished_among", finished_among)
    client = watch(hub, run)
    conclude(run)
    assert seen(client) == [9]


def test_a_silent_client_is_woken_now_and_then_and_one_that_hears_is_not_asked_about(hub, run, monkeypatch):
    asked = []
    monkeypatch.setattr(hubs, "TICK_SECONDS", 0.02)
    monkeypatch.setattr(Run, "finished_among", lambda ids: asked.append(ids) or [])
    stream = relay.batches(run, 0, hub)
    assert next(stream) == []
    assert (asked, hub.watched[progress.stream_key(run.id).encode()].clients[0].quiet) == ([[run.id]] * 4, 5)
    stream.close()
    asked.clear()
    gevent.sleep(0.1)
    assert asked == []


def test_an_earlier_cursor_winds_the_reader_back_and_a_later_one_does_not(hub):
    run_id = uuid7()
    key = progress.stream_key(run_id).encode()
    first = hub.join(run_id, 5)
    assert (hub.watched[key].last_id, first.must_read) == (b"5-0", False)
    second = hub.join(run_id, 7)
    assert (hub.watched[key].last_id, second.must_read) == (b"5-0", True)
    hub.join(run_id, 3)
    assert hub.watched[key].last_id == b"3-0"
    hub.leave(first)
    assert hub.watched[key].clients[0] is second


def test_only_a_reader_that_sleeps_is_woken_and_redis_may_be_away(hub, configure):
    hub._nudge()
    assert redis_client().xlen(hub.control) == 0
    hub.blocked = True
    hub._nudge()
    assert (redis_client().xlen(hub.control), hub.blocked) == (1, False)
    hub.blocked = True
    configure(redis_url="redis://127.0.0.1:1/0")
    hub._nudge()


def test_what_nobody_watches_any_more_is_dropped(hub):
    hub._deliver(b"run:gone", [(b"1-0", {b"k": b"x", b"e": b"{}"})])


@pytest.mark.parametrize("answer", [None, [], {}])
def test_an_empty_answer_is_no_entry(answer):
    assert list(hubs.streams_of(answer)) == []


def test_both_protocol_versions_are_read():
    raw = [(b"1-0", {b"k": b"x"})]
    assert list(hubs.streams_of({b"a": [raw]})) == list(hubs.streams_of({b"a": raw})) == [(b"a", raw)]
    assert list(hubs.streams_of([(b"a", raw)])) == [(b"a", raw)]
    assert list(hubs.streams_of({b"a": []})) == [(b"a", [])]


def test_the_two_kinds_of_frames():
    one = Entry(7, b"delta", b'{"a":1}', False)
    assert relay.chat_frame(one) == b'data: {"a":1}\n\nid: 7\n\n'
    assert relay.run_frame(one) == b'id: 7\nevent: delta\ndata: {"a":1}\n\n'


class Slot:
    def __init__(self):
        self.calls = []

    def renew(self):
        self.calls.append("renew")

    def release(self):
        self.calls.append("release")


@pytest.fixture
def body():
    """body([batch, ...]) -> an event stream of these batches, and how many streams were open before."""

    def make(batches, slot=None):
        before = metrics.STREAMS._value.get()
        return relay.Body(iter_of(batches), relay.run_frame, slot, None), before

    def iter_of(batches):
        yield from batches

    return make


def test_a_stream_opens_at_once_then_frames_what_comes_and_says_that_it_is_alive(body):
    two = [Entry(1, b"a", b"{}", False), Entry(2, b"b", b"{}", True)]
    stream, before = body([[], two])
    assert metrics.STREAMS._value.get() == before + 1
    assert list(stream) == [b": open\n\n", b": alive\n\n", b"".join(map(relay.run_frame, two))]
    stream.close()
    assert metrics.STREAMS._value.get() == before


def test_a_slot_is_given_back_even_if_nobody_ever_read(body):
    slot = Slot()
    body([[]], slot)[0].close()
    assert slot.calls == ["release"]


def test_a_stream_asks_now_and_then_whether_its_session_is_alive(body, monkeypatch):
    alive, slot = [True, True], Slot()
    monkeypatch.setattr(relay, "is_alive", lambda who: alive.pop() if alive else False)
    stream, _ = body([[]] * 9, slot)
    assert [next(stream), next(stream)] == [b": open\n\n", b": alive\n\n"]
    assert (slot.calls, len(alive)) == ([], 2), "not yet"
    for left in (1, 0):
        stream.due = time.monotonic()
        assert next(stream) == b": alive\n\n"
        assert len(alive) == left
        assert 14 < stream.due - time.monotonic() <= relay.CHECK_SECONDS
    stream.due = 0
    assert list(stream) == []
    assert slot.calls == ["renew"] * 3


def test_a_stream_goes_on_while_nobody_can_say_whether_its_session_is_alive(body, monkeypatch):
    def away(_):
        raise peewee.OperationalError("away")

    monkeypatch.setattr(relay, "is_alive", away)
    stream, _ = body([[]])
    next(stream)
    stream.due = 0
    assert next(stream) == b": alive\n\n"


def test_following_answers_with_a_stream_that_no_proxy_holds_back(hub, run, person):
    resp = falcon.Response()
    relay.follow(resp, run, person("owner"), after=3, frame=relay.chat_frame, hub=hub)
    assert resp.content_type == "text/event-stream; charset=utf-8"
    assert {name: resp.get_header(name) for name in ("Cache-Control", "X-Accel-Buffering", "X-Run-Id")} == {
        "Cache-Control": "no-cache, no-transform",
        "X-Accel-Buffering": "no",
        "X-Run-Id": str(run.id),
    }
    write(run, 3, 4)
    finish(run)
    assert next(resp.stream) == b": open\n\n"
    assert b"".join(resp.stream).startswith(b'data: {"n":4}\n\nid: 4\n\ndata: ')
    resp.stream.close()


def test_a_stream_followed_from_its_start_begins_with_the_first_event_and_asks_about_its_caller(
    hub, run, person, monkeypatch
):
    asked, who = [], person()
    monkeypatch.setattr(relay, "is_alive", lambda caller: asked.append(caller) or True)
    write(run, 1, 2)
    done, resp = finish(run), falcon.Response()
    relay.follow(resp, done, who, hub=hub)
    next(resp.stream)
    resp.stream.due = 0
    assert next(resp.stream).startswith(b"id: 1\nevent: raw_response\ndata: ")
    assert asked == [who]
    resp.stream.close()


def test_a_slot_counts_the_streams_of_its_caller(clean, person, configure):
    from models.platform.limits import QuotaExceeded

    configure(chat_stream_concurrent_limit=1)
    one, two = person(), person()
    with relay.slot(one) as slot:
        assert slot
    with relay.slot(two) as other:
        assert other
    with pytest.raises(QuotaExceeded) as caught, relay.slot(one):
        pass
    assert "chat_stream_concurrency" in json.dumps(caught.value.details)
    slot.release()
    with relay.slot(one) as again:
        assert again


def test_waiting_gives_the_terminal_event(hub, run):
    write(run, 1, 2)
    waiter = gevent.spawn(relay.wait, run, 5, hub)
    gevent.sleep(0.05)
    done = finish(run)
    assert waiter.get() == done.terminal


def test_waiting_too_long_is_told_and_the_run_goes_on(hub, run):
    write(run, 1)
    with pytest.raises(relay.RunStillRunning) as caught:
        relay.wait(run, 0.1, hub)
    assert (caught.value.details, caught.value.headers) == ({"run_id": str(run.id)}, {"X-Run-Id": str(run.id)})
    assert hub.watched == {}
    assert Run.get_by_id(run.id).state == "queued"
