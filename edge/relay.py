"""The only streaming code: a run's events as server-sent events, or collapsed to the last one."""

import contextlib
import json
import logging
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any, TypeAlias

import falcon
import gevent
import peewee
import redis

from edge import metrics
from edge.auth import is_alive
from edge.hub import BATCH, Hub, last_entry
from edge.hub import hub as process_hub
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
CHECK_SECONDS = 15  # how often a stream asks whether its session is alive; a silent one asks when it wakes
OPEN, ALIVE = b": open\n\n", b": alive\n\n"  # comments: the first bytes, and the sign of life
Batches: TypeAlias = Generator[list[Entry], None, None]
Frame: TypeAlias = Callable[[Entry], bytes]


class RunStillRunning(DomainError):
    status, code = 504, "run_still_running"
    message = "The run has not ended yet. Follow it with GET /api/v1/runs/{run_id}/stream."


def batches(run: Run, after: int, hub: Hub = process_hub) -> Batches:
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


def _past(run: Run, cursor: int) -> Batches:
    """What Redis still has of a finished run, and the terminal event from Postgres if Redis does not have it."""
    last = last_entry(run)
    try:
        while batch := progress.read(run.id, cursor, BATCH, within=fast_redis_client()):
            yield batch
            cursor = batch[-1].sequence
    except redis.RedisError as error:
        log.warning("relay.redis_away", extra={"reason": repr(error)})
    if cursor < last.sequence:
        yield [last]


def chat_frame(entry: Entry) -> bytes:
    # The id is a frame of its own: simple clients expect every frame with data to begin with `data: `.
    return b"data: %b\n\nid: %d\n\n" % (entry.data, entry.sequence)


def run_frame(entry: Entry) -> bytes:
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (entry.sequence, entry.kind, entry.data)


class Body:
    """An event stream as a WSGI body. The server calls `close` in any case, so the slot is released even unread."""

    def __init__(self, entries: Batches, frame: Frame, slot: Slot | None, principal: Principal) -> None:
        self.entries, self.frame, self.slot, self.principal = entries, frame, slot, principal
        self.due = time.monotonic() + CHECK_SECONDS
        self.frames = self._frames()
        metrics.STREAMS.inc()

    def __iter__(self) -> Iterator[bytes]:
        return self.frames

    def __next__(self) -> bytes:
        return next(self.frames)

    def _frames(self) -> Generator[bytes, None, None]:
        yield OPEN
        for batch in self.entries:
            if time.monotonic() >= self.due and not self._may_go_on():
                return
            yield b"".join(map(self.frame, batch)) if batch else ALIVE

    def _may_go_on(self) -> bool:
        """Renew the slot; stop the stream if the session was revoked."""
        self.due = time.monotonic() + CHECK_SECONDS
        if self.slot:
            self.slot.renew()
        try:
            return is_alive(self.principal)
        except peewee.PeeweeException as error:  # neither Redis nor Postgres can say: ask again later
            log.warning("relay.database_away", extra={"reason": repr(error)})
            return True
        finally:
            release()

    def close(self) -> None:
        self.frames.close()
        self.entries.close()
        metrics.STREAMS.dec()
        if self.slot:
            self.slot.release()


@contextlib.contextmanager
def slot(principal: Principal) -> Iterator[Slot | None]:
    """One of the caller's concurrent streams; released here if the block fails before a stream has begun."""
    limit = settings.chat_stream_concurrent_limit
    taken = Slot.take("chat_stream_concurrency", limit, principal.tenant_id, principal.subject)
    try:
        yield taken
    except BaseException:
        if taken:
            taken.release()
        raise


def follow(
    resp: falcon.Response,
    run: Run,
    principal: Principal,
    *,
    after: int = 0,
    frame: Frame = run_frame,
    slot: Slot | None = None,
    hub: Hub = process_hub,
) -> None:
    """Answer with the run's events after the sequence number `after`. No database connection is held meanwhile."""
    release()
    body = Body(batches(run, after, hub), frame, slot, principal)
    resp.content_type = "text/event-stream; charset=utf-8"
    resp.set_header("Cache-Control", "no-cache, no-transform")
    resp.set_header("X-Accel-Buffering", "no")
    resp.set_header("X-Run-Id", str(run.id))
    resp.stream = body


def wait(run: Run, seconds: float, hub: Hub = process_hub) -> dict[str, Any]:
    """The run's terminal event. RunStillRunning after `seconds`; the run itself goes on."""
    release()
    entries = batches(run, 0, hub)
    with contextlib.closing(entries), gevent.Timeout(seconds, False):
        for batch in entries:
            if batch and batch[-1].terminal:
                terminal: dict[str, Any] = json.loads(batch[-1].data)
                return terminal
    raise RunStillRunning(details={"run_id": str(run.id)}, headers={"X-Run-Id": str(run.id)})
