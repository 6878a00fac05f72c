"""A claimed job while an actor works on it, and the ways in which the actor can be interrupted."""

import threading
import time
from typing import Protocol, cast

from dramatiq.middleware import Shutdown, TimeLimitExceeded
from dramatiq.threading import Interrupt, is_gevent_active, raise_thread_exception

from models.jobs.ledger import Job
from workers.jobs import JobKind

__all__ = ["Cancelled", "Interrupt", "Lease", "LeaseRevoked", "Shutdown", "TimeLimitExceeded", "TryLater"]


class Greenlet(Protocol):
    def throw(self, error: BaseException) -> object: ...


class TryLater(Exception):
    """Raised by an actor whose job is to be done in `seconds`. `is_failure`: it counts as a failed attempt, because of `reason`.

    An actor that has no attempt left ends its job itself: see `is_last_attempt`.
    """

    def __init__(self, reason: str, seconds: float, *, is_failure: bool = True) -> None:
        super().__init__(reason)
        self.seconds, self.is_failure = seconds, is_failure


class Cancelled(Interrupt):
    """Someone asked for the job to be cancelled."""


class LeaseRevoked(Interrupt):
    """Another worker has claimed the job, or it was ended from outside."""


class Lease:
    """What an actor is called with: its job, and the places where it may be interrupted.

    An actor is interrupted at its next `checkpoint()`, or at once if it is inside `interruptible()`. Interrupts are not
    Exceptions, so library code does not swallow them.
    """

    def __init__(self, job: Job, kind: JobKind) -> None:
        self.job, self.kind = job, kind
        self.deadline = time.monotonic() + kind.limit
        self._interrupt: type[Interrupt] | None = None
        self._wait = InterruptibleWait(self)
        self._thread_id = threading.get_ident()
        self._greenlet = _current_greenlet()

    @property
    def is_last_attempt(self) -> bool:
        """Whether the job is dead if this attempt fails."""
        return self.job.failures + 1 >= self.job.max_failures

    def checkpoint(self) -> None:
        """Raise the Interrupt that was requested, if any."""
        if self._interrupt:
            raise self._interrupt()

    def interruptible(self) -> "InterruptibleWait":
        """A context manager for a wait, such as for a network answer, that an Interrupt may break off at any moment."""
        return self._wait

    def interrupt(self, reason: type[Interrupt]) -> None:
        """Request an interrupt. Only the first request counts. Called from another thread or greenlet."""
        if self._interrupt is not None:
            return
        self._interrupt = reason
        if self._greenlet is not None:
            import gevent

            gevent.get_hub().loop.run_callback(self._throw)
        elif self._wait.is_entered:
            raise_thread_exception(self._thread_id, reason)

    def _throw(self) -> None:
        # Runs in gevent's hub while the actor's greenlet is suspended. It may have left `interruptible()` by now.
        if self._wait.is_entered and self._greenlet and self._interrupt:
            self._greenlet.throw(self._interrupt())


class InterruptibleWait:
    # A class, because generators cost more and a streamed answer waits some thirty times.
    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.is_entered = False

    def __enter__(self) -> None:
        self.lease.checkpoint()
        self.is_entered = True

    def __exit__(self, *_: object) -> None:
        self.is_entered = False


def _current_greenlet() -> Greenlet | None:
    if not is_gevent_active():
        return None
    import gevent

    return cast(Greenlet, gevent.getcurrent())
