"""The only streaming code: a run's events as server-sent events, or only its terminal event."""

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
from playhouse.pool import MaxConnectionsExceeded

from edge import metrics
from edge.auth import is_alive
from edge.entries import last_entry
from edge.hub import Hub
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
CHECK_SECONDS = 15  # how often a stream checks its session; a silent stream checks at its next heartbeat
OPEN, ALIVE = b": open\n\n", b": alive\n\n"  # comments: the first bytes, and the heartbeat
Batches: TypeAlias = Generator[list[Entry], None, None]
Frame: TypeAlias = Callable[[Entry], bytes]


class RunStillRunning(DomainError):
    status, code = 504, "run_still_running"
    message = "The run has not ended yet. Follow it with GET /api/v1/runs/{run_id}/stream."


def batches(run: Run, after: int, hub: Hub = process_hub) -> Batches:
    """A run's entries after the sequence number `after`, up to the terminal one. An empty batch is a heartbeat."""
    if run.is_finished:
        yield from _finished_batches(run, after, hub)
        return
    cursor, client = after, hub.join(run.id, after)
    try:
        while True:
            if client.must_read:
                client.must_read, client.entries = False, []  # before the read, so that nothing is lost meanwhile
                batch = progress.read(run.id, cursor, hub.batch)
                client.must_read = client.must_read or len(batch) == hub.batch
            else:
                batch = client.take()
                if client.must_read:
                    continue
            fresh = [entry for entry in batch if entry.sequence > cursor]
            if fresh:
                cursor = fresh[-1].sequence
            yield fresh
            if batch and batch[-1].terminal:  # even if the cursor is beyond it
                return
    finally:
        hub.leave(client)


def _finished_batches(run: Run, cursor: int, hub: Hub) -> Batches:
    """What Redis still has of a finished run, then the terminal event from Postgres if Redis has lost it."""
    last = last_entry(run)
    try:
        while batch := progress.read(run.id, cursor, hub.batch, within=fast_redis_client()):
            yield batch
            cursor = batch[-1].sequence
    except redis.RedisError as error:
        log.warning("relay.redis_away", extra={"reason": repr(error)})
    if cursor < last.sequence:
        yield [last]


def chat_frame(entry: Entry) -> bytes:
    # The id gets its own frame: simple clients expect every frame with data to begin with `data: `.
    return b"data: %b\n\nid: %d\n\n" % (entry.data, entry.sequence)


def run_frame(entry: Entry) -> bytes:
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (entry.sequence, entry.kind, entry.data)


class Body:
    """An event stream as a WSGI body. The server always calls `close`, so the slot is released even if nothing was read.

    `session_alive` says whether the caller's session is still good.
    """

    def __init__(
        self,
        entries: Batches,
        frame: Frame,
        slot: Slot | None,
        principal: Principal,
        session_alive: Callable[[Principal], bool] = is_alive,
    ) -> None:
        self.entries, self.frame, self.slot, self.principal = entries, frame, slot, principal
        self.session_alive = session_alive
        self.next_check = time.monotonic() + CHECK_SECONDS
        self.frames = self._frames()
        metrics.STREAMS.inc()

    def __iter__(self) -> Iterator[bytes]:
        return self.frames

    def __next__(self) -> bytes:
        return next(self.frames)

    def _frames(self) -> Generator[bytes, None, None]:
        yield OPEN
        for batch in self.entries:
            if time.monotonic() >= self.next_check and not self._check():
                return
            yield b"".join(map(self.frame, batch)) if batch else ALIVE

    def _check(self) -> bool:
        """Renew the slot, and say whether the session is still alive."""
        self.next_check = time.monotonic() + CHECK_SECONDS
        if self.slot:
            self.slot.renew()
        try:
            return self.session_alive(self.principal)
        except (peewee.PeeweeException, MaxConnectionsExceeded) as error:  # no answer now: check again later
            log.warning("relay.database_away", extra={"reason": repr(error)})
            return True
        finally:
            release()

    def close(self) -> None:
        try:
            self.frames.close()
            self.entries.close()
        finally:
            metrics.STREAMS.dec()
            if self.slot:
                self.slot.release()


@contextlib.contextmanager
def slot(principal: Principal) -> Iterator[Slot | None]:
    """One of the caller's concurrent streams; None without a limit. Released here only if the block raises.

    QuotaExceeded if all of the caller's slots are taken.
    """
    limit = settings.chat_stream_concurrent_limit
    slot = Slot.take("chat_stream_concurrency", limit, principal.tenant_id, principal.subject)
    try:
        yield slot
    except BaseException:
        if slot:
            slot.release()
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
    """Answer with the run's events after the sequence number `after`, as server-sent events made by `frame`.

    The stream releases `slot` when it closes. It holds no database connection.
    """
    release()
    body = Body(batches(run, after, hub), frame, slot, principal)
    resp.content_type = "text/event-stream; charset=utf-8"
    resp.set_header("Cache-Control", "no-store, no-transform")
    resp.set_header("X-Accel-Buffering", "no")
    resp.set_header("X-Run-Id", str(run.id))
    resp.stream = body


def wait(run: Run, seconds: float, hub: Hub = process_hub) -> dict[str, Any]:
    """The run's terminal event. RunStillRunning if it does not come within `seconds`; the run itself goes on."""
    release()
    entries = batches(run, 0, hub)
    with contextlib.closing(entries), gevent.Timeout(seconds, False):
        for batch in entries:
            if batch and batch[-1].terminal:
                terminal: dict[str, Any] = json.loads(batch[-1].data)
                return terminal
    raise RunStillRunning(details={"run_id": str(run.id)}, headers={"X-Run-Id": str(run.id)})
