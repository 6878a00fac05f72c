"""The only streaming code: events as server-sent events, or only the terminal event of a run.

The stream of a run ends with the run, or when the run begins to wait for a person: nobody has to hold a stream for days.
"""

import contextlib
import json
import logging
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any, TypeAlias

import falcon
import gevent
import redis

from edge import metrics, topics
from edge.entries import last_entry
from edge.hub import Hub
from edge.hub import hub as process_hub
from edge.watch import Permit, watch
from models.platform.database import release
from models.platform.errors import Conflict, DomainError, NotAuthenticated
from models.platform.limits import Slot
from models.platform.principal import Principal
from models.platform.redis import fast_redis_client
from models.platform.settings import settings
from models.runs import approvals, progress
from models.runs.approvals import Approval
from models.runs.progress import Entry
from models.runs.run import WAITING, Run

log = logging.getLogger(__name__)
PAUSE_SECONDS = 300  # how long a client may follow a run of which it knows that it waits
RENEW_SECONDS = 15  # how often a stream renews its slot; a silent stream does so at its next heartbeat
OPEN, ALIVE = b": open\n\n", b": alive\n\n"  # comments: the first bytes, and the heartbeat
Batches: TypeAlias = Generator[list[Entry], None, None]
Frame: TypeAlias = Callable[[Entry], bytes]


class ApprovalRequired(Conflict):
    code = "approval_required"
    message = "The run waits for a person. Decide with POST /api/v1/runs/{run_id}/approvals/{call_id}, and follow it."


class RunStillRunning(DomainError):
    status, code = 504, "run_still_running"
    message = "The run has not ended yet. Follow it with GET /api/v1/runs/{run_id}/stream."


def batches(run: Run, after: int, hub: Hub = process_hub) -> Batches:
    """A run's entries after the sequence number `after`, up to the terminal one, or one after which the run waits. Other
    steps of a workflow may go on then: the hub repeats that entry to clients that hear nothing more.

    An empty batch is a heartbeat. A client that knows of the wait (`after`) may stay PAUSE_SECONDS to see the run go on.
    """
    waits, known_wait = run.state == WAITING, run.waiting_sequence
    if run.is_finished or (waits and after < known_wait):
        yield from _stored_batches(run, after, hub)
        return
    cursor, client = after, hub.join(topics.of_run(run.id), after)
    until = time.monotonic() + PAUSE_SECONDS if waits else float("inf")
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
                cursor, until = fresh[-1].sequence, float("inf")
            yield fresh
            if batch and batch[-1].terminal:  # even if the cursor is beyond it
                return
            if batch and batch[-1].waits:
                if batch[-1].sequence > known_wait:
                    return
                if not fresh:
                    until = min(until, time.monotonic() + PAUSE_SECONDS)
            if time.monotonic() > until:
                return
    finally:
        hub.leave(client)


def _stored_batches(run: Run, cursor: int, hub: Hub) -> Batches:
    """What Redis still has of a run that has ended or waits, then its last event from Postgres if Redis has lost it."""
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

    It ends when `permit` is withdrawn.
    """

    def __init__(self, entries: Batches, frame: Frame, slot: Slot | None, permit: Permit) -> None:
        self.entries, self.frame, self.slot, self.permit = entries, frame, slot, permit
        self.next_renewal = time.monotonic() + RENEW_SECONDS
        self.frames = self._frames()
        metrics.STREAMS.inc()

    def __iter__(self) -> Iterator[bytes]:
        return self.frames

    def __next__(self) -> bytes:
        return next(self.frames)

    def _frames(self) -> Generator[bytes, None, None]:
        yield OPEN
        for batch in self.entries:
            if not self.permit.valid:
                return
            self._renew_slot()
            yield b"".join(map(self.frame, batch)) if batch else ALIVE

    def _renew_slot(self) -> None:
        if self.slot and time.monotonic() >= self.next_renewal:
            self.next_renewal = time.monotonic() + RENEW_SECONDS
            self.slot.renew()

    def close(self) -> None:
        try:
            self.frames.close()
            self.entries.close()
        finally:
            metrics.STREAMS.dec()
            if self.slot:
                self.slot.release()


@contextlib.contextmanager
def one_slot(quota: str, limit: int, *owner: object) -> Iterator[Slot | None]:
    """One of the owner's concurrent streams; None without a limit. Released here only if the block raises.

    QuotaExceeded if all of the owner's slots are taken.
    """
    slot = Slot.take(quota, limit, *owner)
    try:
        yield slot
    except BaseException:
        if slot:
            slot.release()
        raise


def slot(principal: Principal) -> contextlib.AbstractContextManager[Slot | None]:
    """One of the caller's concurrent streams of runs, as `one_slot`."""
    limit = settings.chat_stream_concurrent_limit
    return one_slot("chat_stream_concurrency", limit, principal.tenant_id, principal.subject)


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
    """Answer with the run's events after the sequence number `after`, as `stream` does."""
    resp.set_header("X-Run-Id", str(run.id))
    stream(resp, Body(batches(run, after, hub), frame, slot, watch.permit(principal, run, hub)))


def stream(resp: falcon.Response, body: Body) -> None:
    """Answer with server-sent events. The stream releases its slot when it closes. It holds no database connection."""
    release()
    resp.content_type = "text/event-stream; charset=utf-8"
    resp.set_header("Cache-Control", "no-store, no-transform")
    resp.set_header("X-Accel-Buffering", "no")
    resp.stream = body


def wait(run: Run, principal: Principal, seconds: float, hub: Hub = process_hub) -> dict[str, Any]:
    """The run's terminal event. RunStillRunning if it does not come within `seconds`; the run itself goes on.

    ApprovalRequired as soon as the run waits for a person. NotAuthenticated if the caller meanwhile loses the right to read it.
    """
    release()
    entries, permit = batches(run, 0, hub), watch.permit(principal, run, hub)
    rests: Run | None = None
    with contextlib.closing(entries), gevent.Timeout(seconds, False):
        for batch in entries:
            if not permit.valid:
                raise NotAuthenticated("The session has ended. Sign in again.")
            if batch and batch[-1].terminal:
                terminal: dict[str, Any] = json.loads(batch[-1].data)
                return terminal
        rests = Run.get_or_none(Run.id == run.id)
    if rests and rests.state == WAITING:
        raise _approval_required(rests)
    raise RunStillRunning(details={"run_id": str(run.id)}, headers={"X-Run-Id": str(run.id)})


def _approval_required(run: Run) -> ApprovalRequired:
    """`details` has the open approvals, and the number after which the run's stream goes on."""
    asked = [approvals.summary(one) for one in Approval.of_run(run.id, only_open=True)]
    details = {"run_id": str(run.id), "sequence_number": run.waiting_sequence, "approvals": asked}
    return ApprovalRequired(details=details, headers={"X-Run-Id": str(run.id)})
