"""How an actor runs: claim the job row, keep its lease while it works, end it in one way or another."""

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager

import dramatiq
import peewee
from dramatiq.threading import is_gevent_active, raise_thread_exception

from models.jobs import ledger, presence
from models.jobs.ledger import LeaseLost
from models.platform import memory
from models.platform.database import release
from models.platform.ids import parse_uuid
from models.platform.settings import settings
from models.runs import progress
from models.runs.run import Run
from workers import metrics
from workers.broker import broker
from workers.jobs import Job, bury, send

log = logging.getLogger(__name__)
OWNER = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


class Stopped(BaseException):
    """Thrown into an actor at a wait that it declared interruptible. Not an Exception: no library may swallow it."""


class LostLease(Stopped):
    pass


class Cancelled(Stopped):
    pass


class HandedBack(Stopped):
    pass


class TimedOut(Stopped):
    pass


class Lease:
    """One claimed job in the hands of an actor."""

    def __init__(self, job: ledger.Job, kind: Job):
        self.job, self.kind = job, kind
        self.deadline = time.monotonic() + kind.limit
        self.stopped: type[Stopped] | None = None
        self._waiting = False
        self._thread = threading.get_ident()
        self._greenlet = _current_greenlet()

    def checkpoint(self) -> None:
        if self.stopped:
            raise self.stopped()

    @contextmanager
    def interruptible(self):
        """A wait in which the actor may be stopped at once; elsewhere a stop takes effect at the next checkpoint."""
        self.checkpoint()
        self._waiting = True
        try:
            yield
        finally:
            self._waiting = False

    def stop(self, why: type[Stopped]) -> None:
        if self.stopped is None:
            self.stopped = why
            if self._greenlet is not None:
                import gevent

                gevent.get_hub().loop.run_callback(self._throw)
            elif self._waiting:
                raise_thread_exception(self._thread, why)

    def _throw(self) -> None:
        # Runs in gevent's hub, so the greenlet is suspended; it may have left its wait since stop() was called.
        if self._waiting:
            self._greenlet.throw(self.stopped())


def _current_greenlet():
    if not is_gevent_active():
        return None
    import gevent

    return gevent.getcurrent()


def actor(kind: Job) -> Callable:
    """Register `function(lease)` as the actor of a job in THE TABLE."""

    def register(function: Callable[[Lease], None]) -> Callable[[Lease], None]:
        def perform(job_id: str) -> None:
            execute(kind, function, job_id)

        dramatiq.actor(perform, actor_name=kind.name, queue_name=kind.queue, broker=broker)
        return function

    return register


def execute(kind: Job, function: Callable[[Lease], None], job_id: str) -> None:
    """Load, guard, do, finish. Returns without a word when the job is finished, cancelled or alive elsewhere."""
    try:
        job = ledger.Job.claim(parse_uuid(job_id), OWNER, settings.job_lease_seconds)
    finally:
        release()
    if job is None:
        return
    lease, began = Lease(job, kind), time.perf_counter()
    keeper.leases[job.id] = lease
    result = "lost"
    try:
        result = _attempt(function, lease)
    finally:
        keeper.leases.pop(job.id, None)
        release()
        metrics.job_done(kind.name, result, time.perf_counter() - began)


def _attempt(function: Callable[[Lease], None], lease: Lease) -> str:
    """Run the actor and record how it ended. The word returned is the metric's `result`."""
    job = lease.job
    try:
        try:
            function(lease)
            if not job.is_finished:
                job.end()
            return job.state
        except Cancelled:
            end_cancelled(job)
            return "cancelled"
        except HandedBack:
            job.hand_back()
            send([job])
            return "handed_back"
        except (LostLease, LeaseLost):
            log.warning("job.lease_lost", extra=_about(job))
            return "lost"
        except TimedOut:
            return fail(lease, "run_timeout", f"the time limit of {lease.kind.limit:g} s has passed", retryable=False)
        except Exception as error:
            log.exception("job.failed", extra=_about(job))
            return fail(lease, "internal_error", f"{type(error).__name__}: {error}", retryable=True)
    except LeaseLost:
        return "lost"
    except (peewee.OperationalError, peewee.InterfaceError) as error:
        # Postgres is away: nothing can be recorded. The lease runs out and the reaper takes the job back.
        log.warning("job.unrecorded", extra={**_about(job), "reason": repr(error)})
        return "unrecorded"


def end_cancelled(job: ledger.Job) -> None:
    run = None
    with job.finish(ledger.CANCELLED):
        if job.run_id:
            run = Run.close(job.run_id, "cancelled", "cancelled", "The run was cancelled.", epoch=job.epoch)
    if run:
        progress.end(run)


def fail(lease: Lease, code: str, text: str, *, retryable: bool) -> str:
    job = lease.job
    if retryable and job.failures + 1 < job.max_failures:
        job.retry_later(text, lease.kind.backoff(job.failures + 1))
        return "retried"
    with job.finish(ledger.DEAD, text):
        bury(job, code=code)
    return "dead"


def _about(job: ledger.Job) -> dict:
    return {"job": job.name, "job_id": str(job.id), "epoch": job.epoch, "run_id": str(job.run_id or "")}


class Keeper(dramatiq.Middleware):
    """One thread (or greenlet) per process renews all its leases in one statement, and stops what must stop."""

    def __init__(self):
        self.leases: dict = {}
        self.ending = threading.Event()
        self.hand_back_at = float("inf")

    def after_worker_boot(self, broker, worker):
        self.queues = ",".join(sorted(worker.consumer_whitelist or broker.get_declared_queues()))
        memory.settle()
        self.thread = threading.Thread(target=self.loop, name="keeper", daemon=True)
        self.thread.start()

    def before_worker_shutdown(self, broker, worker):
        self.hand_back_at = time.monotonic() + settings.worker_grace_seconds

    def after_worker_shutdown(self, broker, worker):
        self.ending.set()
        self.thread.join(2)
        presence.withdraw(OWNER)

    def loop(self):
        while not self.ending.wait(settings.job_heartbeat_seconds):
            try:
                self.beat()
            except Exception as error:  # the next beat tries again; until then the leases run on
                log.warning("keeper.beat_failed", extra={"reason": repr(error)})
                release()

    def beat(self):
        presence.announce(OWNER, self.queues)
        held = dict(self.leases)
        if not held:
            return
        moment = time.monotonic()
        owned = ledger.Job.renew(OWNER, list(held), settings.job_lease_seconds)
        for job_id, lease in held.items():
            epoch, cancel = owned.get(job_id, (None, False))
            if epoch != lease.job.epoch:
                lease.stop(LostLease)
            elif cancel:
                lease.stop(Cancelled)
            elif moment > lease.deadline:
                lease.stop(TimedOut)
            elif moment > self.hand_back_at:
                lease.stop(HandedBack)


keeper = Keeper()
