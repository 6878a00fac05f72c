"""How an actor runs: claim the job, do the work while the heartbeat renews the lease, and record how it ended."""

import logging
import time
from collections.abc import Callable

import dramatiq
import peewee

from models.jobs.ledger import CANCELLED, DEAD, WAITING, Job, LeaseLost
from models.platform import tracing
from models.platform.database import release, transaction
from models.platform.ids import parse_uuid
from models.platform.redaction import without_secrets
from models.platform.settings import settings
from models.runs import progress
from models.runs.run import Run
from workers import metrics
from workers.broker import broker
from workers.heartbeat import OWNER, heartbeat
from workers.jobs import JobKind, enqueue_exhausted, give_turn, send
from workers.lease import Cancelled, Lease, LeaseRevoked, Shutdown, TimeLimitExceeded, TryLater

__all__ = ["Lease", "actor", "execute"]
log = logging.getLogger(__name__)
Actor = Callable[[Lease], None]
FAILURES = ("dead", "lost", "retried", "unrecorded")
OWNED_ELSEWHERE = ("lost", "unrecorded")  # results after which the job is still with the workers


def actor(kind: JobKind) -> Callable[[Actor], Actor]:
    """Register `function(lease)` as the actor that does jobs of this kind."""

    def register(function: Actor) -> Actor:
        def perform(job_id: str) -> None:
            execute(kind, function, job_id)

        dramatiq.actor(actor_name=kind.name, queue_name=kind.queue, broker=broker)(perform)
        return function

    return register


def execute(kind: JobKind, function: Actor, job_id: str) -> None:
    """Claim a job and run its actor. Does nothing if the job is finished, cancelled, or leased to another worker."""
    job = _claim(job_id)
    if job is None:
        return
    lease, started = Lease(job, kind), time.perf_counter()
    heartbeat.leases[job.id] = lease
    result = "lost"
    # All attempts have the same parent, so that a run is one trace, however many workers it takes.
    with tracing.span(f"job {kind.name}", "consumer", within=job.traceparent or "", attributes=_span_of(job)) as span:
        try:
            result = _attempt(function, lease)
        finally:
            heartbeat.leases.pop(job.id, None)
            if result == "released":
                send([job])  # it keeps its place
            elif result not in OWNED_ELSEWHERE:
                give_turn(job)
            release()
            metrics.job_done(kind.name, result, time.perf_counter() - started)
            span.set({"longshore.job.result": result})
            if result in FAILURES:
                span.fail(result)


def _claim(text: str) -> Job | None:
    job_id = parse_uuid(text)
    try:
        return Job.claim(job_id, OWNER, settings.job_lease_seconds) if job_id else None
    finally:
        release()


def _attempt(function: Actor, lease: Lease) -> str:
    """Run the actor and record how it ended. Returns the `result` label of the metric."""
    job = lease.job
    try:
        return _run(function, lease)
    except (LeaseRevoked, LeaseLost):
        log.warning("job.lease_lost", extra=_log_fields(job))
        return "lost"
    except (peewee.OperationalError, peewee.InterfaceError) as error:
        # Postgres is down, so nothing can be recorded. The lease expires and the scheduler recovers the job.
        log.warning("job.unrecorded", extra={**_log_fields(job), "reason": repr(error)})
        return "unrecorded"


def _run(function: Actor, lease: Lease) -> str:
    job = lease.job
    try:
        function(lease)
        if not job.is_finished and job.state != WAITING:
            job.finish()
        return job.state
    except Cancelled:
        _finish_cancelled(job)
        return "cancelled"
    except Shutdown:
        job.release()
        return "released"
    except TimeLimitExceeded:
        return _fail(job, "run_timeout", f"the time limit of {lease.kind.limit:g} s has passed")
    except LeaseLost:
        raise
    except TryLater as wish:
        return _try_later(job, wish)
    except Exception as error:
        log.exception("job.failed", extra=_log_fields(job))
        text = without_secrets(f"{type(error).__name__}: {error}")
        if job.failures + 1 >= job.max_failures:
            return _fail(job, "internal_error", text)
        job.retry_later(text, lease.kind.backoff(job.failures + 1))
        return "retried"


def _try_later(job: Job, wish: TryLater) -> str:
    if not wish.is_failure:
        job.put_off(wish.seconds)
        return "put_off"
    log.warning("job.failed", extra={**_log_fields(job), "reason": str(wish)})
    job.retry_later(without_secrets(str(wish)), wish.seconds)
    return "retried"


def _finish_cancelled(job: Job) -> None:
    with transaction():
        if job.run_id:
            Job.lock_open(job.run_id)
        job.finish(CANCELLED)
        run = Run.stop(job.run_id) if job.run_id else None
    if run:
        metrics.run_ended(run)
        progress.send_terminal(run)


def _fail(job: Job, code: str, error: str) -> str:
    """No attempt is left: the job is dead. `code` is the error code of its run."""
    with transaction():
        job.finish(DEAD, error)
        enqueue_exhausted(job, code=code)
    return "dead"


def _span_of(job: Job) -> tracing.Attributes:
    return {
        "messaging.system": "longshore",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": job.queue,
        "messaging.message.id": str(job.id),
        "longshore.job.name": job.name,
        "longshore.job.epoch": job.epoch,
        "longshore.run.id": str(job.run_id) if job.run_id else None,
        "longshore.tenant.id": str(job.tenant_id) if job.tenant_id else None,
    }


def _log_fields(job: Job) -> dict[str, str | int]:
    return {"job": job.name, "job_id": str(job.id), "epoch": job.epoch, "run_id": str(job.run_id or "")}
