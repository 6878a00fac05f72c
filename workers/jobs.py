"""Every kind of job, one per line; and the only code that sends jobs to workers."""

import logging
import random
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import dramatiq
import peewee
import redis

from models.billing import inbox
from models.jobs import lanes, recovery
from models.jobs.ledger import CANCELLED, DEAD, QUEUED, Job
from models.platform import tracing
from models.platform.client_info import ClientInfo
from models.platform.database import database, in_transaction, transaction
from models.platform.principal import Principal
from models.platform.settings import settings
from models.runs import holds, progress, waiting
from models.runs.approvals import Approval
from models.runs.run import Run
from workers.broker import broker

log = logging.getLogger(__name__)
LONGEST_BACKOFF = 600.0  # seconds
BUSY_RESEND_SECONDS = 60  # resend age of jobs in queues that still hold messages


@dataclass(frozen=True, slots=True)
class JobKind:
    """`limit`: seconds that one attempt may take. `retries`: attempts after the first failure. `exhausted`: name of the
    job that is enqueued, with the same run and arguments, when all attempts have failed. `delays`: seconds to wait after
    each failure, more or less, where the usual ones are too short; they should be as many as `retries`."""

    name: str
    queue: str
    limit: float = 60
    retries: int = 3
    exhausted: str | None = None
    delays: tuple[int, ...] = ()

    def backoff(self, failures: int) -> float:
        """Seconds to wait after the n-th failure: 1, 2, 4 ..., at most LONGEST_BACKOFF; or about that one of `delays`."""
        if self.delays:
            return self.delays[min(max(1, failures), len(self.delays)) - 1] * random.uniform(0.8, 1.2)  # noqa: S311
        return min(LONGEST_BACKOFF, 2.0 ** max(0, failures - 1))


A_DAY = (5, 60, 300, 1800, 3600, 7200, 14_400, 21_600, 28_800)  # about, together
QUEUES = ("agents", "index", "files", "events", "mail", "housekeeping")

# fmt: off
CHAT_RUN              = JobKind("chat.run",              queue="agents",       limit=900, retries=3, exhausted="run.fail")
WORKFLOW_ADVANCE      = JobKind("workflow.advance",      queue="agents",       limit=60,  retries=3, exhausted="workflow.fail")
WORKFLOW_STEP         = JobKind("workflow.step",         queue="agents",       limit=900, retries=3, exhausted="workflow.fail")
WORKFLOW_FAIL         = JobKind("workflow.fail",         queue="housekeeping", limit=30,  retries=20)
MAIL_VERIFY           = JobKind("mail.verify",           queue="mail",         limit=60,  retries=10)
MAIL_RESET            = JobKind("mail.reset",            queue="mail",         limit=60,  retries=10)
MAIL_LOCKED           = JobKind("mail.locked",           queue="mail",         limit=60,  retries=10)
MAIL_INVITE           = JobKind("mail.invite",           queue="mail",         limit=60,  retries=10)
MAIL_ACCESS_RECEIVED  = JobKind("mail.access_received",  queue="mail",         limit=60,  retries=10)
MAIL_ACCESS_KNOWN     = JobKind("mail.access_known",     queue="mail",         limit=60,  retries=10)
MAIL_ACCESS_REQUESTED = JobKind("mail.access_requested", queue="mail",         limit=60,  retries=10)
MAIL_ACCESS_REJECTED  = JobKind("mail.access_rejected",  queue="mail",         limit=60,  retries=10)
MAIL_CONTACT          = JobKind("mail.contact",          queue="mail",         limit=60,  retries=10)
MAIL_NOTICE           = JobKind("mail.notice",           queue="mail",         limit=60,  retries=10)
STATUS_CONFIRM        = JobKind("status.confirm",        queue="mail",         limit=60,  retries=10)
STATUS_CHALLENGE      = JobKind("status.challenge",      queue="events",       limit=60,  retries=4, delays=(5, 30, 120, 300))
STATUS_TEST           = JobKind("status.test",           queue="events",       limit=60,  retries=0)
STATUS_DISABLED       = JobKind("status.disabled",       queue="mail",         limit=60,  retries=10)
STATUS_PURGE          = JobKind("status.purge",          queue="housekeeping", limit=600, retries=0)
USAGE_FOLD            = JobKind("usage.fold",            queue="events",       limit=120, retries=3)
USAGE_FORWARD         = JobKind("usage.forward",         queue="events",       limit=600, retries=3)
MAIL_BILLING          = JobKind("mail.billing",          queue="mail",         limit=60,  retries=10, exhausted="billing.give_up")
MAIL_BILLING_TEST     = JobKind("mail.billing_test",     queue="mail",         limit=60,  retries=3)
BILLING_TELL          = JobKind("billing.tell",          queue="events",       limit=60,  retries=3)
BILLING_WEBHOOK       = JobKind("billing.webhook",       queue="events",       limit=60,  retries=9, exhausted="billing.give_up", delays=A_DAY)
BILLING_GIVE_UP       = JobKind("billing.give_up",       queue="housekeeping", limit=30,  retries=20)
RUN_FAIL              = JobKind("run.fail",              queue="housekeeping", limit=30,  retries=20)
BILLING_EVENTS        = JobKind("billing.events",        queue="events",       limit=60,  retries=3)
BILLING_REFRESH       = JobKind("billing.refresh",       queue="events",       limit=120, retries=20)
JOB_PURGE             = JobKind("job.purge",             queue="housekeeping", limit=600, retries=0)
EVENT_PURGE           = JobKind("event.purge",           queue="housekeeping", limit=600, retries=0)
SESSION_PURGE         = JobKind("session.purge",         queue="housekeeping", limit=600, retries=0)
BILLING_OPERATION     = JobKind("billing.operation",     queue="events",       limit=240, retries=60, exhausted="billing.operation_fail")
BILLING_OPERATION_FAIL = JobKind("billing.operation_fail", queue="events",     limit=240, retries=20)
BILLING_RECONCILE     = JobKind("billing.reconcile",     queue="housekeeping", limit=3600, retries=0)
FILE_INDEX            = JobKind("file.index",            queue="index",        limit=1800, retries=5, exhausted="run.fail")
FILE_ATTACH           = JobKind("file.attach",           queue="index",        limit=1800, retries=8, exhausted="file.attach_fail")
FILE_ATTACH_FAIL      = JobKind("file.attach_fail",      queue="housekeeping", limit=60,  retries=20)
FILE_DETACH           = JobKind("file.detach",           queue="index",        limit=600, retries=20)
VECTOR_STORE_CREATE   = JobKind("vector_store.create",   queue="index",        limit=120, retries=10, exhausted="vector_store.create_fail")
VECTOR_STORE_CREATE_FAIL = JobKind("vector_store.create_fail", queue="housekeeping", limit=60, retries=20)
VECTOR_STORE_REMOVE   = JobKind("vector_store.remove",   queue="index",        limit=600, retries=20)
VECTOR_STORE_EXPIRE   = JobKind("vector_store.expire",   queue="housekeeping", limit=300, retries=0)
VECTOR_STORE_SYNC     = JobKind("vector_store.sync",     queue="index",        limit=300, retries=0)
VECTOR_STORE_RECONCILE = JobKind("vector_store.reconcile", queue="housekeeping", limit=1800, retries=0)
CONTAINER_CREATE      = JobKind("container.create",      queue="events",       limit=90,  retries=6, exhausted="container.create_fail")
CONTAINER_CREATE_FAIL = JobKind("container.create_fail", queue="housekeeping", limit=30,  retries=20)
CONTAINER_REFRESH     = JobKind("container.refresh",     queue="events",       limit=90,  retries=0)
CONTAINER_REMOVE      = JobKind("container.remove",      queue="events",       limit=90,  retries=20)
CONTAINER_SYNC        = JobKind("container.sync",        queue="events",       limit=240, retries=0)
STORAGE_BUCKET        = JobKind("storage.bucket",        queue="files",        limit=60,  retries=2)
STORAGE_PARTS         = JobKind("storage.parts",         queue="files",        limit=60,  retries=1)
STORAGE_VERIFY        = JobKind("storage.verify",        queue="files",        limit=900, retries=7, delays=(2, 5, 15, 60, 300, 900, 3600))
STORAGE_REMOVE        = JobKind("storage.remove",        queue="files",        limit=60,  retries=20)
STORAGE_SWEEP         = JobKind("storage.sweep",         queue="housekeeping", limit=600, retries=3)
STORAGE_RECONCILE     = JobKind("storage.reconcile",     queue="housekeeping", limit=3600, retries=0)
CHUNKS_INDEX          = JobKind("chunks.index",          queue="housekeeping", limit=3600, retries=0)
CHUNKS_SWEEP          = JobKind("chunks.sweep",          queue="housekeeping", limit=3600, retries=0)
STATUS_FAN_OUT        = JobKind("status.fan_out",        queue="events",       limit=300, retries=20)
STATUS_DELIVER        = JobKind("status.deliver",        queue="events",       limit=300, retries=20)
STATUS_MAINTENANCE    = JobKind("status.maintenance",    queue="housekeeping", limit=60,  retries=0)
STATUS_PROBE          = JobKind("status.probe",          queue="events",       limit=60,  retries=0)
STATUS_ROLL_UP        = JobKind("status.roll_up",        queue="housekeeping", limit=300, retries=3)
STATUS_TEND           = JobKind("status.tend",           queue="housekeeping", limit=300, retries=0)
NOOP                  = JobKind("noop",                  queue="housekeeping", limit=10,  retries=0)
# fmt: on

KINDS = {kind.name: kind for kind in globals().values() if isinstance(kind, JobKind)}


@in_transaction
def enqueue(
    kind: JobKind,
    *,
    run_id: UUID | None = None,
    tenant_id: UUID | None = None,
    traceparent: str | None = None,
    **args: Any,
) -> Job:
    """Add a job. It is sent after the commit; if that fails, the scheduler sends it again.

    It continues the trace of the current span; where there is none, that of `traceparent`.
    """
    job = Job.add(
        name=kind.name,
        queue=kind.queue,
        args=args,
        run_id=run_id,
        tenant_id=tenant_id,
        max_failures=kind.retries + 1,
        exhausted=kind.exhausted,
        traceparent=tracing.current() or traceparent or _new_trace(kind),
    )
    database.after_commit(lambda: send([job]))
    return job


def _new_trace(kind: JobKind) -> str | None:
    """The traceparent of a job that nothing traced has led to, such as the cron table. None if traces are off."""
    with tracing.span(f"send {kind.queue}", "producer", attributes={"longshore.job.name": kind.name}):
        return tracing.current()


@in_transaction
def enqueue_exhausted(job: Job, **more_args: Any) -> None:
    """Enqueue the job that follows a dead one, in the same trace, if its kind has such a job."""
    if job.exhausted:
        args = {**job.args, **more_args}
        enqueue(KINDS[job.exhausted], run_id=job.run_id, tenant_id=job.tenant_id, traceparent=job.traceparent, **args)


def send(jobs: list[Job]) -> int:
    """Give job ids to the broker and return how many were sent. Never raises: the scheduler sends the rest again.

    A tenant's jobs beyond its share wait in the ledger until one of its others ends.
    """
    try:
        return _push(lanes.admit(jobs))
    except (redis.RedisError, peewee.PeeweeException) as error:
        log.warning("job.send_failed", extra={"jobs": len(jobs), "reason": repr(error)})
        return 0


def give_turn(job: Job) -> None:
    """The job is no longer with the workers: send the next one of its tenant. Never raises, like `send`."""
    try:
        send(lanes.leave(job))
    except (redis.RedisError, peewee.PeeweeException) as error:
        log.warning("job.turn_not_given", extra={"job_id": str(job.id), "reason": repr(error)})


def take_turns() -> int:
    """Send the jobs that nobody sent when it was their turn. Returns how many."""
    lanes.repair()
    return send(lanes.take_turns())


def _push(jobs: list[Job]) -> int:
    sent = 0
    for job in jobs:
        try:
            broker.enqueue(
                dramatiq.Message(queue_name=job.queue, actor_name=job.name, args=(str(job.id),), kwargs={}, options={})
            )
            sent += 1
        except Exception as error:  # noqa: BLE001  (this runs after the commit: the request has succeeded)
            log.warning("job.send_failed", extra={"job_id": str(job.id), "job": job.name, "reason": repr(error)})
            break
    return sent


def resend_unclaimed() -> int:
    """Send the jobs that are due but were never claimed, because their messages were lost. Returns how many were sent.

    In a queue that still holds messages a job is probably just waiting its turn, so it is only sent again after
    BUSY_RESEND_SECONDS.
    """
    jobs = recovery.take_due_retries()
    idle_queues = [queue for queue in QUEUES if not broker.backlog(queue)]
    busy_queues = [queue for queue in QUEUES if queue not in idle_queues]
    if idle_queues:
        jobs += recovery.take_unclaimed(idle_queues, settings.job_resend_seconds)
    if busy_queues:
        jobs += recovery.take_unclaimed(busy_queues, BUSY_RESEND_SECONDS, limit=100)
    return send(jobs)


def recover_expired() -> int:
    """Return the jobs of dead workers to their queues, or end them. Returns how many there were."""
    with transaction():
        jobs = recovery.recover_expired()
        for job in jobs:
            if job.state == DEAD:
                enqueue_exhausted(job)
        cancelled_runs = [Run.stop(job.run_id) for job in jobs if job.state == CANCELLED and job.run_id]
    send([job for job in jobs if job.state == QUEUED])
    for run in cancelled_runs:
        if run:
            progress.send_terminal_or_log(run)
    return len(jobs)


def retry(job_id: UUID) -> Job:
    """Queue a dead or cancelled job, and its run, again. JobNotFound, JobNotRetryable."""
    with transaction():
        job = Job.retry(job_id)
        if job.run_id:
            Job.cancel_where((Job.run_id == job.run_id) & (Job.name == job.exhausted))  # it would end the run
            Run.requeue(job.run_id)
            if tenant_id := job.tenant_id:
                database.after_commit(lambda: holds.forget(tenant_id))
        database.after_commit(lambda: send([job]))
    return job


@in_transaction
def requeue(job_ids: list[UUID]) -> None:
    """Queue dead or cancelled jobs of an open run again. JobNotRetryable."""
    jobs = [Job.retry(job_id) for job_id in sorted(job_ids)]
    database.after_commit(lambda: send(jobs))


def cancel(job_id: UUID) -> Job:
    """Cancel a job and the run that it belongs to. JobNotFound, JobFinished."""
    with transaction():
        if run_id := Job.find(job_id).run_id:
            Job.lock_open(run_id)
        job = Job.cancel(job_id)
        run = Run.stop(job.run_id) if job.run_id else None
    if run:
        progress.send_terminal_or_log(run)
    return job


def decide(principal: Principal, approval: Approval, answer: waiting.Answer, client: ClientInfo) -> Approval:
    """Record a decision about a call (see waiting.decide), and let its job go on if it was the last that was missing."""
    with transaction():
        approval, job = waiting.decide(principal, approval, answer, client)
        _send_later(job)
    return approval


def expire_approvals() -> int:
    """Let the jobs go on about whose calls nobody has decided in time. Returns how many there were."""
    due = waiting.due()
    for job_id, run_id in due:
        with transaction():
            _send_later(waiting.expire(job_id, run_id))
    return len(due)


def resume_billing_events() -> int:
    """Have the events of billing processed that are due although nobody works on them. Returns how many jobs that took."""
    if not settings.enable_billing or not inbox.is_waiting(BILLING_EVENTS.name):
        return 0
    with transaction():
        enqueue(BILLING_EVENTS)
    return 1


def _send_later(job: Job | None) -> None:
    if job is not None:
        database.after_commit(lambda: send([job]))
