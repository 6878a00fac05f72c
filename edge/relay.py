"""The only streaming code: a run's events from Redis to its clients, as server-sent events or collapsed to the last one.

One greenlet per process reads all watched streams (the hub) and fills the clients' mailboxes. A client whose mailbox
overflows reads Redis on its own until it has caught up. Postgres answers for what Redis no longer has.
"""

import contextlib
import json
import logging
import os
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import falcon
import gevent
import peewee
import redis
from gevent.event import Event

from edge import metrics
from edge.auth import is_alive
from models.platform.database import release
from models.platform.errors import DomainError
from models.platform.limits import Slot
from models.platform.principal import Principal
from models.platform.redis import fast_redis_client
from models.platform.settings import settings
from models.runs import progress
from models.runs.progress import Entry
from models.runs.run import Run

log = logging.getLogger(__name__)
BATCH = 500  # entries in one read of one stream
MAILBOX = 2000  # entries that wait for a slow client
# After a read the hub rests, so that more comes with the next one: a read costs in proportion to the streams it names.
REST_SECONDS, LONGEST_REST = 0.0005, 0.01  # per watched stream beside the first; altogether
TICK_SECONDS = 3  # how often silent runs are looked up in Postgres
CHECK_SECONDS = 15  # how often a stream asks whether its session is alive; silent ones when they wake
SILENCE_TICKS = 5  # ... and after how many of these a client hears a comment


class RunStillRunning(DomainError):
    status, code = 504, "run_still_running"
    message = "The run has not ended yet. Follow it with GET /api/v1/runs/{run_id}/stream."


class Client:
    """One reader of one run."""

    __slots__ = ("entries", "must_read", "quiet", "run_id", "wake")

    def __init__(self, run_id: UUID, must_read: bool):
        self.run_id, self.must_read = run_id, must_read
        self.entries: list[Entry] = []
        self.wake = Event()
        self.quiet = 0

    def put(self, entries: list[Entry]) -> None:
        self.quiet = 0
        if len(self.entries) + len(entries) > MAILBOX:
            self.entries, self.must_read = [], True
        else:
            self.entries += entries
        self.wake.set()

    def take(self) -> list[Entry]:
        """What has arrived; waits for it. Empty when it is time for a sign of life."""
        self.wake.wait()
        self.wake.clear()
        taken, self.entries = self.entries, []
        return taken


class Hub:
    def __init__(self) -> None:
        self.watched: dict[bytes, tuple[list[bytes], list[Client]]] = {}  # stream key -> ([last id], clients)
        self.control = f"hub:{os.getpid()}:{time.time_ns()}".encode()
        self.blocked = False
        self.greenlets: list[gevent.Greenlet] = []

    def join(self, run_id: UUID, after: int) -> Client:
        """Watch a run from `after` on. Registering comes before any reading, so nothing falls between."""
        key = progress.stream_key(run_id).encode()
        known = self.watched.get(key)
        client = Client(run_id, must_read=known is not None)
        if known is None:
            known = self.watched[key] = ([b"%d-0" % after], [])
        elif after < _number(known[0][0]):
            # An earlier client may have named a cursor beyond the stream's end; entries seen twice are dropped.
            known[0][0] = b"%d-0" % after
        known[1].append(client)
        if client.must_read:
            client.wake.set()
        self._nudge()
        if not self.greenlets:
            self.greenlets = [gevent.spawn(self._read_forever), gevent.spawn(self._look_after_silent_runs)]
        return client

    def leave(self, client: Client) -> None:
        key = progress.stream_key(client.run_id).encode()
        clients = self.watched[key][1]
        clients.remove(client)
        if not clients:
            del self.watched[key]

    def _nudge(self) -> None:
        if self.blocked:
            self.blocked = False
            try:
                fast_redis_client().xadd(self.control, {"w": 1}, maxlen=1)
            except redis.RedisError as error:  # the reader is about to notice as well, and then reads all keys anew
                log.warning("relay.nudge_failed", extra={"reason": repr(error)})

    def _read_forever(self) -> None:
        seen = b"0"
        connection = redis.Redis.from_url(settings.redis_url, single_connection_client=True, socket_timeout=15)
        while True:
            keys: dict[bytes, bytes] = {key: last[0] for key, (last, _) in self.watched.items()}
            keys[self.control] = seen
            self.blocked = True
            try:
                answer = connection.xread(keys, count=BATCH, block=5000)
            except Exception as error:  # whatever it is: all streams of this process hang on this greenlet
                log.warning("relay.redis_away", extra={"reason": repr(error)})
                gevent.sleep(0.2)
                continue
            finally:
                self.blocked = False
            for key, raw in _streams(answer):
                if key == self.control:
                    seen = raw[-1][0]
                else:
                    self._deliver(key, raw)
            gevent.sleep(min(REST_SECONDS * (len(keys) - 2), LONGEST_REST) if len(keys) > 2 else 0)

    def _deliver(self, key: bytes, raw: list) -> None:
        known = self.watched.get(key)
        if known is None:
            return
        known[0][0] = raw[-1][0]
        entries = [progress.entry(item) for item in raw]
        for client in known[1]:
            client.put(entries)

    def _look_after_silent_runs(self) -> None:
        """Redis may have lost a terminal event, or nobody lived to send it: Postgres knows which runs have ended."""
        while True:
            gevent.sleep(TICK_SECONDS)
            silent: dict[UUID, list[Client]] = {}
            for _, clients in list(self.watched.values()):
                for client in clients:
                    client.quiet += 1
                    if client.quiet > 1:
                        silent.setdefault(client.run_id, []).append(client)
                    if client.quiet % SILENCE_TICKS == 0:
                        client.wake.set()
            try:
                for run in Run.finished_among(list(silent)) if silent else ():
                    for client in silent[run.id]:
                        client.put([last_entry(run)])
            except Exception as error:  # Postgres is away; the next tick asks again
                log.warning("relay.database_away", extra={"reason": repr(error)})
            finally:
                release()


def _number(entry_id: bytes) -> int:
    return int(entry_id[:-2])


def _streams(answer: Any):
    """XREAD's answer as (key, entries) pairs, whichever protocol version the connection speaks."""
    if isinstance(answer, dict):
        return [(key, raw[0] if raw and isinstance(raw[0], list) else raw) for key, raw in answer.items()]
    return answer or ()


def last_entry(run: Run) -> Entry:
    return Entry(run.terminal_sequence, run.terminal["kind"].encode(), progress.encode(run.terminal), True)


hub = Hub()


def batches(run: Run, after: int) -> Iterator[list[Entry]]:
    """A run's entries after a sequence number, up to the terminal one. An empty batch is a sign of life."""
    if run.is_finished:
        yield from _past(run, after)
        return
    cursor, client = after, hub.join(run.id, after)
    try:
        while True:
            if client.must_read:
                client.must_read, client.entries = False, []  # in this order: what arrives from now on is kept
                batch = progress.read(run.id, cursor, BATCH)
                client.must_read = client.must_read or len(batch) == BATCH
            else:
                batch = client.take()
                if client.must_read:
                    continue
            fresh = [entry for entry in batch if entry.sequence > cursor]
            if fresh:
                cursor = fresh[-1].sequence
            yield fresh
            if batch and batch[-1].terminal:  # also for a cursor beyond the end
                return
    finally:
        hub.leave(client)


def _past(run: Run, cursor: int) -> Iterator[list[Entry]]:
    try:
        while batch := progress.read(run.id, cursor, BATCH, within=fast_redis_client()):
            yield batch
            cursor = batch[-1].sequence
    except redis.RedisError as error:  # the end is in Postgres as well
        log.warning("relay.redis_away", extra={"reason": repr(error)})
    if cursor < run.terminal_sequence:
        yield [last_entry(run)]


def chat_frame(entry: Entry) -> bytes:
    # The id is a frame of its own: simple clients expect every frame with data to begin with `data: `.
    return b"data: %b\n\nid: %d\n\n" % (entry.data, entry.sequence)


def run_frame(entry: Entry) -> bytes:
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (entry.sequence, entry.kind, entry.data)


class Body:
    """An event stream as a WSGI body. `close` is called in any case, so a slot is given back even if nobody ever read."""

    def __init__(self, run: Run, after: int, frame, slot: Slot | None, who: Principal):
        self.batches, self.frame, self.slot, self.who = batches(run, after), frame, slot, who
        self.opened, self.due = False, time.monotonic() + CHECK_SECONDS
        metrics.STREAMS.inc()

    def __iter__(self):
        return self

    def __next__(self) -> bytes:
        if not self.opened:
            self.opened = True
            return b": open\n\n"
        batch = next(self.batches)
        if time.monotonic() >= self.due:
            self._check()
        if not batch:
            return b": alive\n\n"
        return b"".join(map(self.frame, batch))

    def _check(self) -> None:
        """Keep the slot; but what a client could not open any more it does not go on reading either."""
        self.due = time.monotonic() + CHECK_SECONDS
        if self.slot:
            self.slot.renew()
        try:
            if not is_alive(self.who):
                raise StopIteration
        except peewee.PeeweeException as error:  # Redis and Postgres are away: ask again later
            log.warning("relay.database_away", extra={"reason": repr(error)})
        finally:
            release()

    def close(self) -> None:
        self.batches.close()
        metrics.STREAMS.dec()
        if self.slot:
            self.slot.release()


@contextlib.contextmanager
def slot(who: Principal) -> Iterator[Slot | None]:
    """One of the caller's concurrent streams; given back if the block fails before a stream has begun."""
    taken = Slot.take("chat_stream_concurrency", settings.chat_stream_concurrent_limit, who.tenant_id, who.subject)
    try:
        yield taken
    except BaseException:
        if taken:
            taken.release()
        raise


def follow(
    resp: falcon.Response, run: Run, who: Principal, *, after: int = 0, frame=run_frame, slot: Slot | None = None
) -> None:
    """Answer with the run's events. No database connection is held while they flow."""
    release()
    body = Body(run, after, frame, slot, who)
    resp.content_type = "text/event-stream; charset=utf-8"
    resp.set_header("Cache-Control", "no-cache, no-transform")
    resp.set_header("X-Accel-Buffering", "no")
    resp.set_header("X-Run-Id", str(run.id))
    resp.stream = body


def wait(run: Run, seconds: float) -> dict[str, Any]:
    """The run's terminal event. RunStillRunning after `seconds`; the run itself goes on."""
    release()
    found = batches(run, 0)
    with gevent.Timeout(seconds, False):
        for batch in found:
            if batch and batch[-1].terminal:
                return json.loads(batch[-1].data)
    found.close()
    raise RunStillRunning(details={"run_id": str(run.id)}, headers={"X-Run-Id": str(run.id)})
