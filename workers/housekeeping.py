"""Actors that keep the tables small, and the one that fails a run whose job is dead."""

import time

from models.auth import email_tokens, refresh_successors, service_tokens, sessions, signup_requests
from models.auth.users import PASSWORD_SET
from models.billing import inbox, notices, usage_batches
from models.billing.operations import BillingOperation
from models.contact.messages import ContactMessage
from models.conversations.conversation import RunEvent
from models.jobs.ledger import Job
from models.platform.audit import AuditEvent
from models.platform.database import transaction
from models.platform.redis import redis_client
from models.platform.settings import settings
from models.runs import progress, steps, waiting
from models.runs.approvals import Approval
from models.runs.run import FAILED, Run
from models.tenants import webhook_secrets
from workers import metrics
from workers.jobs import EVENT_PURGE, JOB_PURGE, NOOP, RUN_FAIL, SESSION_PURGE
from workers.runtime import Lease, actor

MESSAGES = {
    "run_timeout": "The run took too long and was stopped.",
    "internal_error": "The run failed. Its job can be retried by an operator.",
}


@actor(RUN_FAIL)
def fail_run(lease: Lease) -> None:
    """Close a run whose job is dead, and send its terminal event. Repeatable: a crash in between loses nothing."""
    job = lease.job
    if job.run_id is None:
        return
    code = job.args.get("code", "internal_error")
    with transaction():
        job.finish()
        run = Run.close(job.run_id, FAILED, code, MESSAGES.get(code, MESSAGES["internal_error"]))
    if run:
        metrics.run_ended(run)
    run = run or Run.get_or_none((Run.id == job.run_id) & Run.terminal_sequence.is_null(False))
    if run:
        progress.send_terminal(run)


@actor(JOB_PURGE)
def purge_jobs(lease: Lease) -> None:
    with transaction():
        waiting.cancel_orphans()
    while Job.purge(settings.job_retention_days):
        lease.checkpoint()


@actor(EVENT_PURGE)
def purge_events(lease: Lease) -> None:
    days = settings.run_events_ttl_days
    while RunEvent.purge(days) or steps.purge(days) or Approval.purge(days):
        lease.checkpoint()
    days = settings.billing_event_retention_days
    while inbox.purge(days) or notices.purge(days) or BillingOperation.purge(days) or usage_batches.purge(days):
        lease.checkpoint()


@actor(SESSION_PURGE)
def purge_sessions(lease: Lease) -> None:
    sessions.purge_sessions()
    refresh_successors.purge()
    email_tokens.purge()
    service_tokens.purge()
    signup_requests.purge(settings.audit_retention_days)
    while ContactMessage.purge(settings.contact_retention_days):
        lease.checkpoint()
    webhook_secrets.encrypt_again()
    AuditEvent.purge(settings.audit_retention_days, keep_newest_of=PASSWORD_SET)


@actor(NOOP)
def noop(lease: Lease) -> None:
    """Does nothing. For the benchmark, and for operators to check that jobs are done.

    With an argument `mark` it appends the time to the Redis list of that name.
    """
    if key := lease.job.args.get("mark"):
        redis_client().rpush(key, time.time())
