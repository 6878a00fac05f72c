"""Finding jobs that are stuck: never claimed, due for a retry, or leased to a worker that is gone. For the scheduler."""

from datetime import datetime, timedelta

from peewee import Expression, fn

from models.jobs.ledger import QUEUED, Job

# Leases cannot be renewed while Postgres is down, so none is taken for expired within 5 seconds of its start.
RECOVER_EXPIRED = """
with expired as (
    select id from job
    where state = 'running' and lease_until < now() and pg_postmaster_start_time() < now() - interval '5 seconds'
    limit %(limit)s for update skip locked
)
update job set
    state = case when cancel_requested then 'cancelled' when failures + 1 >= max_failures then 'dead' else 'queued' end,
    finished_at = case when cancel_requested or failures + 1 >= max_failures then now() end,
    failures = failures + 1, error = 'the worker vanished', owner = null, lease_until = null,
    due_at = now(), sent_at = now()
where id in (select id from expired)
returning {columns}"""


def recover_expired(limit: int = 500) -> list[Job]:
    """Take back the jobs whose lease has expired: queued again, dead after too many failures, or cancelled if asked."""
    return Job.all(RECOVER_EXPIRED, limit=limit)


def take_unclaimed(queues: list[str], seconds: float, limit: int = 500) -> list[Job]:
    """Jobs of these queues that are due and were sent more than `seconds` ago but never claimed; marked as sent now."""
    is_late = (Job.due_at <= fn.now()) & (Job.sent_at < fn.now() - timedelta(seconds=seconds))
    return _mark_sent(is_late & Job.queue.in_(queues), limit)


def take_due_retries(limit: int = 500) -> list[Job]:
    """Failed jobs whose back-off has just ended, marked as sent now. Until then their `sent_at` equals `due_at`."""
    return _mark_sent((Job.failures > 0) & (Job.due_at <= fn.now()) & (Job.sent_at <= Job.due_at), limit)


def oldest_due(queue: str) -> datetime | None:
    """Since when the job has waited that waits longest for a worker of this queue. Those that wait for their turn do not count."""
    is_due = (Job.state == QUEUED) & (Job.queue == queue) & (Job.due_at <= fn.now()) & Job.sent_at.is_null(False)
    found: datetime | None = Job.select(fn.min(Job.due_at)).where(is_due).scalar()
    return found


def _mark_sent(condition: Expression, limit: int) -> list[Job]:
    queued = Job.select(Job.id).where((Job.state == QUEUED) & condition).order_by(Job.sent_at).limit(limit)
    unlocked = queued.for_update(skip_locked=True)
    return list(Job.update(sent_at=fn.now()).where(Job.id.in_(unlocked)).returning(Job).execute())
