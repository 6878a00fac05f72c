"""Actors that keep the tables small, and the one that ends a run whose job is dead."""

from models.auth import email_tokens, service_tokens, sessions, signup_requests
from models.conversations.conversation import RunEvent
from models.jobs.ledger import Job
from models.platform.audit import AuditEvent
from models.platform.redis import redis_client
from models.platform.settings import settings
from models.runs import progress
from models.runs.run import Run
from workers.jobs import EVENT_PURGE, JOB_PURGE, NOOP, RUN_FAIL, SESSION_PURGE
from workers.runtime import Lease, actor

MESSAGES = {
    "run_timeout": "The run took too long and was stopped.",
    "cancelled": "The run was cancelled.",
}


@actor(RUN_FAIL)
def fail_run(lease: Lease) -> None:
    """The chat's job is dead or was cancelled without its worker: tell whoever watches, once."""
    job = lease.job
    code = job.args.get("code", "internal_error")
    state = "cancelled" if code == "cancelled" else "failed"
    message = MESSAGES.get(code, "The run failed. Its job can be retried by an operator.")
    with job.finish():
        run = Run.close(job.run_id, state, code, message)
    run = run or Run.get_or_none((Run.id == job.run_id) & Run.terminal.is_null(False))
    if run:
        progress.end(run)


@actor(JOB_PURGE)
def purge_jobs(lease: Lease) -> None:
    while Job.purge(settings.job_retention_days):
        lease.checkpoint()


@actor(EVENT_PURGE)
def purge_run_events(lease: Lease) -> None:
    while RunEvent.purge(settings.run_events_ttl_days):
        lease.checkpoint()


@actor(SESSION_PURGE)
def purge_sessions(lease: Lease) -> None:
    sessions.purge_sessions()
    email_tokens.purge()
    service_tokens.purge()
    signup_requests.purge(settings.audit_retention_days)
    AuditEvent.purge(settings.audit_retention_days)


@actor(NOOP)
def noop(lease: Lease) -> None:
    """Does nothing, measurably: the benchmark's job, and an operator's check that workers are alive."""
    if key := lease.job.args.get("mark"):
        import time

        redis_client().rpush(key, time.time())
