"""The hub: one reader for all followed runs, its mailboxes, and its lookups of silent runs."""

import gevent
import peewee
import pytest
import redis

from edge import hub as hubs
from edge import relay
from edge.entries import streams_of
from edge.mailbox import Client
from edge.topics import of_run
from models.platform.ids import uuid7
from models.platform.redis import redis_client
from models.runs import progress
from models.runs.progress import Entry
from models.runs.run import Run

QUICK = 0.02  # seconds between two ticks


def test_clients_get_every_event_once_and_in_order(hub, follow, write, end):
    write(1, 2)
    early = follow(hub)
    write(3)
    gevent.sleep(0.05)
    late = follow(hub)
    write(4)
    end()
    assert early.numbers() == late.numbers() == [1, 2, 3, 4, 9]
    assert hub.watched == {}, "no client is left behind"


def test_a_client_continues_after_its_cursor(hub, follow, write, end):
    write(1, 2, 3)
    client = follow(hub, after=2)
    end()
    assert client.numbers() == [3, 9]


def test_a_cursor_beyond_the_end_gets_nothing_and_the_stream_ends(hub, follow, write, end):
    client = follow(hub, after=5000)
    write(1)
    other = follow(hub)
    end()
    assert other.numbers() == [1, 9]
    assert client.numbers() == []


def test_a_client_that_is_too_slow_catches_up_from_redis(make_hub, follow, write, end):
    client = follow(make_hub(mailbox=3, batch=4))
    write(*range(1, 8))
    end()
    assert client.numbers() == [1, 2, 3, 4, 5, 6, 7, 9]


def test_a_mailbox_that_overflows_is_emptied():
    client = Client(of_run(uuid7()), 0, must_read=False, capacity=3)
    client.silent_ticks = 4
    entry = Entry(1, b"k", b"{}", False)
    client.put([entry, entry])
    client.put([entry])
    assert (client.silent_ticks, client.must_read, client.take()) == (0, False, [entry] * 3)
    client.put([entry] * 4)
    assert (client.must_read, client.take()) == (True, [])


def test_the_reader_survives_every_failure(hub, reader, follow, end):
    reader.failures = [redis.ConnectionError("away"), ValueError("odd")]
    client = follow(hub)
    end()
    assert client.numbers() == [9]
    assert reader.reads[-1][1] == {"count": hubs.BATCH, "block": hubs.BLOCK_MILLISECONDS}


def test_a_broken_entry_does_not_stop_the_reader(hub, run, follow, write, end):
    client = follow(hub)
    redis_client().xadd(progress.stream_key(run.id), {"odd": "no kind and no event"}, id="1-0")
    gevent.sleep(0.05)
    write(2)
    end()
    assert client.numbers() == [2, 9]


def test_a_run_without_a_terminal_event_does_not_hide_others(make_hub, run, follow, end_in_postgres):
    def ended(run_ids):
        return [Run(id=run_id, terminal=None) for run_id in run_ids if run_id != run.id] + Run.resting_among([run.id])

    hub = make_hub(tick_seconds=QUICK, resting=ended)
    hub.join(of_run(uuid7()), 0)
    client = follow(hub)
    end_in_postgres()
    assert client.numbers() == [9]


def test_a_lost_terminal_event_is_found_in_postgres(make_hub, follow, end_in_postgres):
    client = follow(make_hub(tick_seconds=QUICK))
    end_in_postgres()
    assert client.numbers() == [9]


def test_the_lookup_of_silent_runs_survives_a_database_that_is_away(make_hub, follow, end_in_postgres):
    failures = [peewee.OperationalError("away")]

    def ended(run_ids):
        if failures:
            raise failures.pop()
        return Run.resting_among(run_ids)

    client = follow(make_hub(tick_seconds=QUICK, resting=ended))
    end_in_postgres()
    assert client.numbers() == [9]
    assert failures == []


def test_a_silent_client_gets_a_heartbeat_and_is_looked_up_until_it_leaves(make_hub, run):
    lookups = []
    hub = make_hub(tick_seconds=QUICK, resting=lambda run_ids: lookups.append(run_ids) or [])
    stream = relay.batches(run, 0, hub)
    assert next(stream) == []
    [client] = hub.watched[progress.stream_key(run.id).encode()].clients
    assert (lookups, client.silent_ticks) == ([[run.id]] * 4, 5)
    stream.close()
    lookups.clear()
    gevent.sleep(0.1)
    assert lookups == []


def test_the_reader_starts_at_the_earliest_cursor(hub):
    run_id = uuid7()
    key = progress.stream_key(run_id).encode()
    first = hub.join(of_run(run_id), 5)
    assert (hub.watched[key].last_id, first.must_read) == (b"5-0", False)
    second = hub.join(of_run(run_id), 7)
    assert (hub.watched[key].last_id, second.must_read) == (b"5-0", True)
    hub.join(of_run(run_id), 3)
    assert hub.watched[key].last_id == b"3-0"
    hub.leave(first)
    assert hub.watched[key].clients[0] is second


def test_a_client_that_is_interrupted_while_it_joins_is_not_left_behind():
    class InterruptedHub(hubs.Hub):
        def _wake_reader(self):
            raise gevent.Timeout  # as from relay.wait, during the write to Redis

    hub = InterruptedHub()
    with pytest.raises(gevent.Timeout):
        hub.join(of_run(uuid7()), 0)
    assert hub.watched == {}


def test_only_a_blocked_reader_is_woken(hub):
    hub._wake_reader()
    assert redis_client().xlen(hub.control) == 0
    hub.blocked = True
    hub._wake_reader()
    assert (redis_client().xlen(hub.control), hub.blocked) == (1, False)


def test_waking_the_reader_survives_redis_being_away(hub, configure):
    configure(redis_url="redis://127.0.0.1:1/0")
    hub.blocked = True
    hub._wake_reader()
    assert hub.blocked is False


def test_entries_of_a_stream_without_followers_are_dropped(hub):
    hub._deliver(b"run:gone", [(b"1-0", {b"k": b"x", b"e": b"{}"})])
    assert hub.watched == {}


@pytest.mark.parametrize("answer", [None, [], {}])
def test_an_empty_answer_has_no_streams(answer):
    assert list(streams_of(answer)) == []


def test_answers_of_both_protocol_versions_are_read():
    raw = [(b"1-0", {b"k": b"x"})]
    assert list(streams_of({b"a": [raw]})) == list(streams_of({b"a": raw})) == [(b"a", raw)]
    assert list(streams_of([(b"a", raw)])) == [(b"a", raw)]
    assert list(streams_of({b"a": []})) == [(b"a", [])]


@pytest.mark.parametrize(("streams", "seconds"), [(0, 0), (1, 0), (2, 0.0005), (5, 0.002), (21, 0.01), (1000, 0.01)])
def test_the_reader_pauses_longer_the_more_streams_it_reads(streams, seconds):
    assert hubs.pause_after(streams) == pytest.approx(seconds)
