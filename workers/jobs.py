"""THE TABLE: every job on one line; and the only code that sends one."""

import logging
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import dramatiq

from models.jobs import ledger
from models.jobs.ledger import Job as Row
from models.platform.database import database, in_transaction, transaction
from models.platform.settings import settings
from models.runs.run import Run
from workers.broker import broker

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """A kind of job. `limit`: seconds one attempt may take; `retries`: further attempts after a failure;
    `exhausted`: the job that is enqueued, with the same run and arguments, when none of them worked."""

    name: str
    queue: str
    limit: float = 60
    retries: int = 3
    exhausted: str | None = None

    def backoff(self, failures: int) -> float:
        """Seconds to wait after the n-th failure: 1, 2, 4 ... at most 10 minutes."""
        return min(600.0, 2.0 ** max(0, failures - 1))


QUEUES = ("agents", "index", "events", "mail", "housekeeping")

# fmt: off
CHAT_RUN      = Job("chat.run",      queue="agents",       limit=900, retries=3, exhausted="run.fail")
MAIL_VERIFY   = Job("mail.verify",   queue="mail",         limit=60,  retries=10)
MAIL_RESET    = Job("mail.reset",    queue="mail",         limit=60,  retries=10)
MAIL_INVITE   = Job("mail.invite",   queue="mail",         limit=60,  retries=10)
MAIL_ACCESS_RECEIVED  = Job("mail.access_received",  queue="mail", limit=60, retries=10)
MAIL_ACCESS_KNOWN     = Job("mail.access_known",     queue="mail", limit=60, retries=10)
MAIL_ACCESS_REQUESTED = Job("mail.access_requested", queue="mail", limit=60, retries=10)
MAIL_ACCESS_REJECTED  = Job("mail.access_rejected",  queue="mail", limit=60, retries=10)
MAIL_NOTICE   = Job("mail.notice",   queue="mail",         limit=60,  retries=10)
RUN_FAIL      = Job("run.fail",      queue="housekeeping", limit=30,  retries=20)
JOB_PURGE     = Job("job.purge",     queue="housekeeping", limit=600, retries=0)
EVENT_PURGE   = Job("event.purge",   queue="housekeeping", limit=600, retries=0)
SESSION_PURGE = Job("session.purge", queue="housekeeping", limit=600, retries=0)
NOOP          = Job("noop",          queue="housekeeping", limit=10,  retries=0)
# fmt: on

TABLE = {job.name: job for job in globals().values() if isinstance(job, Job)}


@in_transaction
def enqueue(kind: Job, *, run_id: UUID | None = None, tenant_id: UUID | None = None, **args: Any) -> Row:
    """Write the job row in the caller's transaction; it is sent after the commit, and swept if that is lost."""
    row = Row.add(
        name=kind.name,
        queue=kind.queue,
        args=args,
        run_id=run_id,
        tenant_id=tenant_id,
        max_failures=kind.retries + 1,
        exhausted=kind.exhausted,
    )
    database.after_commit(lambda: send([row]))
    return row


def send(rows: list[Row]) -> int:
    """Hand job ids to the broker. Never raises: the row is the truth and the sweeper sends what stayed behind."""
    sent = 0
    for row in rows:
        try:
            broker.enqueue(
                dramatiq.Message(queue_name=row.queue, actor_name=row.name, args=(str(row.id),), kwargs={}, options={})
            )
            sent += 1
        except Exception as error:  # after_commit callbacks must not fail a request that is committed
            log.warning("job.send_failed", extra={"job_id": str(row.id), "job": row.name, "reason": repr(error)})
            break
    return sent


def sweep() -> int:
    """Send what is due and was never claimed: its message was lost between commit and send, or with Redis.

    A queue that still holds messages has work enough; there, only jobs unclaimed for a minute are sent again.
    """
    due = Row.take_due()
    idle = [queue for queue in QUEUES if not broker.backlog(queue)]
    busy = [queue for queue in QUEUES if queue not in idle]
    late = Row.take_unsent(settings.job_resend_seconds, idle) if idle else []
    late += Row.take_unsent(60, busy, limit=100) if busy else []
    return send(due + late)


def reap() -> int:
    """Return the jobs of vanished workers to their queues; bury those that failed too often."""
    with transaction():
        rows = Row.reap()
        for row in rows:
            if row.state == ledger.DEAD:
                bury(row)
            elif row.state == ledger.CANCELLED:
                bury(row, code="cancelled")
    send([row for row in rows if row.state == ledger.QUEUED])
    return len(rows)


@in_transaction
def bury(row: Row, **more: Any) -> None:
    """In the caller's transaction: the `exhausted` job follows one that ended without doing its work."""
    if row.exhausted:
        enqueue(TABLE[row.exhausted], run_id=row.run_id, tenant_id=row.tenant_id, **{**row.args, **more})


def retry(job_id: UUID) -> Row:
    """An operator's retry of a dead or cancelled job."""
    with transaction():
        row = Row.revive(job_id)
        if row.run_id:
            Run.reopen(row.run_id)
        database.after_commit(lambda: send([row]))
    return row


def cancel(job_id: UUID) -> Row:
    """An operator's cancel. A run whose queued job ends here ends with it."""
    with transaction():
        row = Row.cancel(job_id)
        if row.state == ledger.CANCELLED:
            bury(row, code="cancelled")
    return row
