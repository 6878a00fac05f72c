"""The job ledger: one row per job is its outbox, its lease and the operator's record.

state       queued -> running -> succeeded | dead | cancelled; running -> queued when it failed, was handed back or lost its worker
epoch       counts claims; it fences: who finishes or renews must name the epoch that it claimed
failures    counts claims that ended in an error or a lost worker; at `max_failures` the job is dead
lease_until running and past this moment: its worker is gone, anybody may claim
"""

from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from peewee import SQL, BooleanField, Case, CharField, IntegerField, TextField, UUIDField, fn

from models.platform.clock import now
from models.platform.database import Json, database, in_transaction, transaction
from models.platform.errors import Conflict, NotFound
from models.platform.ids import uuid7
from models.platform.model import BinaryJSONField, DateTimeTZField, Model

QUEUED, RUNNING, SUCCEEDED, DEAD, CANCELLED = "queued", "running", "succeeded", "dead", "cancelled"
FINISHED = (SUCCEEDED, DEAD, CANCELLED)


ADD = """
insert into job (id, created_at, name, queue, args, tenant_id, run_id, state, epoch, failures, max_failures, exhausted,
    due_at, sent_at, cancel_requested)
values (%(id)s, %(moment)s, %(name)s, %(queue)s, %(args)s, %(tenant_id)s, %(run_id)s, 'queued', 0, 0, %(max_failures)s,
    %(exhausted)s, %(moment)s, %(moment)s, false)"""
# Claim a job that is due, or whose owner's lease ran out; that one counts as a failure.
CLAIM = """
update job set state = 'running', owner = %(owner)s, lease_until = now() + %(lease)s * interval '1 second',
    epoch = epoch + 1, failures = failures + (state = 'running')::int, started_at = coalesce(started_at, now())
where id = %(id)s and not cancel_requested and failures + (state = 'running')::int < max_failures
    and (state = 'queued' and due_at <= now() or state = 'running' and lease_until < now())
returning {columns}"""
# End a job that this epoch still owns.
END = """
update job set state = %(state)s, error = %(error)s, owner = null, lease_until = null, finished_at = now()
where id = %(id)s and epoch = %(epoch)s and state = 'running'"""


class JobNotFound(NotFound):
    code, message = "job_not_found", "Job not found."


class JobNotRetryable(Conflict):
    code, message = "job_not_retryable", "Only a dead or cancelled job can be retried."


class JobFinished(Conflict):
    code, message = "job_finished", "The job has ended already."


class LeaseLost(Exception):
    """Another worker owns the job now, or it was ended from outside: nothing of this attempt may be written."""


def _in(seconds: float):
    return fn.now() + timedelta(seconds=seconds)


class Job(Model):
    name = CharField()
    queue = CharField()
    args = BinaryJSONField(default=dict)
    tenant_id = UUIDField(null=True)
    run_id = UUIDField(null=True)
    state = CharField(default=QUEUED)
    epoch = IntegerField(default=0)
    failures = IntegerField(default=0)
    max_failures = IntegerField(default=1)
    exhausted = CharField(null=True)
    due_at = DateTimeTZField(default=now)
    sent_at = DateTimeTZField(default=now)
    owner = CharField(null=True)
    lease_until = DateTimeTZField(null=True)
    cancel_requested = BooleanField(default=False)
    error = TextField(null=True)
    started_at = DateTimeTZField(null=True)
    finished_at = DateTimeTZField(null=True)

    @property
    def is_finished(self) -> bool:
        return self.state in FINISHED

    @classmethod
    @in_transaction
    def add(cls, **fields: Any) -> "Job":
        """A new job, due now. It is written with the transaction's next statement, or its end."""
        moment = now()
        job = cls(__no_default__=True, id=uuid7(), due_at=moment, sent_at=moment, state=QUEUED, **fields)
        database.execute_later(ADD, {**fields, "id": job.id, "args": Json(job.args), "moment": moment})
        return job

    # ------------------------------------------------------------- a worker's verbs

    @classmethod
    def claim(cls, job_id: UUID, owner: str, lease_seconds: float) -> "Job | None":
        """Take the job if it is due, or if its owner's lease ran out. None: ended, cancelled, or alive elsewhere."""
        return cls.one(CLAIM, id=job_id, owner=owner, lease=lease_seconds)

    @classmethod
    def renew(cls, owner: str, job_ids: list[UUID], lease_seconds: float) -> dict[UUID, tuple[int, bool]]:
        """Renew the leases of one process: {job id: (epoch, cancel requested)} for the jobs it still owns."""
        mine = cls.id.in_(job_ids) & (cls.owner == owner) & (cls.state == RUNNING)
        query = cls.update(lease_until=_in(lease_seconds)).where(mine)
        rows = query.returning(cls.id, cls.epoch, cls.cancel_requested).tuples().execute()
        return {job_id: (epoch, cancel) for job_id, epoch, cancel in rows}

    @contextmanager
    def finish(self, state: str = SUCCEEDED, error: str | None = None):
        """One transaction that ends the job and whatever the caller writes in the block; LeaseLost writes nothing."""
        with transaction():
            self.end(state, error)
            yield

    def end(self, state: str = SUCCEEDED, error: str | None = None) -> None:
        """End the job, with nothing else to write. LeaseLost when it is no longer ours."""
        if not database.execute_prepared(
            END, {"id": self.id, "epoch": self.epoch, "state": state, "error": error}
        ).rowcount:
            raise LeaseLost(str(self.id))
        self.state = state

    def hand_back(self) -> None:
        """Give the job up unharmed, at shutdown: due at once and not counted as a failure."""
        self._leave(state=QUEUED, due_at=fn.now(), sent_at=fn.now())

    def retry_later(self, error: str, seconds: float) -> None:
        self._leave(state=QUEUED, error=error, failures=self.failures + 1, due_at=_in(seconds), sent_at=_in(seconds))

    def _leave(self, **changes: Any) -> None:
        mine = (Job.id == self.id) & (Job.epoch == self.epoch) & (Job.state == RUNNING)
        if not Job.update(owner=None, lease_until=None, **changes).where(mine).execute():
            raise LeaseLost(str(self.id))

    # ------------------------------------------------------------- the scheduler's verbs

    @classmethod
    def take_unsent(cls, older_than: float, queues: list[str], limit: int = 500) -> list["Job"]:
        """Due jobs that nobody claimed for `older_than` seconds, marked as sent now."""
        late = (
            (cls.state == QUEUED) & (cls.due_at <= fn.now()) & (cls.sent_at < fn.now() - timedelta(seconds=older_than))
        )
        chosen = cls.select(cls.id).where(late & cls.queue.in_(queues)).order_by(cls.sent_at).limit(limit)
        chosen = chosen.for_update("FOR UPDATE SKIP LOCKED")
        return list(cls.update(sent_at=fn.now()).where(cls.id.in_(chosen)).returning(cls).execute())

    @classmethod
    def take_due(cls, limit: int = 500) -> list["Job"]:
        """Jobs whose back-off has just ended: their `sent_at` lies where `due_at` does, and both have passed."""
        due = (cls.state == QUEUED) & (cls.failures > 0) & (cls.due_at <= fn.now()) & (cls.sent_at <= cls.due_at)
        chosen = cls.select(cls.id).where(due).limit(limit).for_update("FOR UPDATE SKIP LOCKED")
        return list(cls.update(sent_at=fn.now()).where(cls.id.in_(chosen)).returning(cls).execute())

    @classmethod
    def reap(cls, limit: int = 500) -> list["Job"]:
        """Take the jobs of vanished workers back: queued again, or dead after too many failures. Returns them."""
        # Leases cannot have been renewed while Postgres was away, so none is judged right after its start.
        up = SQL("pg_postmaster_start_time() < now() - interval '5 seconds'")
        lapsed = cls.select(cls.id).where((cls.state == RUNNING) & (cls.lease_until < fn.now()) & up).limit(limit)
        spent = cls.failures + 1 >= cls.max_failures
        state = fn.coalesce(_when(cls.cancel_requested, CANCELLED), _when(spent, DEAD), QUEUED)
        ended = cls.cancel_requested | spent
        query = cls.update(
            state=state,
            owner=None,
            lease_until=None,
            failures=cls.failures + 1,
            due_at=fn.now(),
            sent_at=fn.now(),
            error=fn.coalesce(_when(~ended, None), "the worker vanished"),
            finished_at=_when(ended, fn.now()),
        ).where(cls.id.in_(lapsed.for_update("FOR UPDATE SKIP LOCKED")))
        return list(query.returning(cls).execute())

    @classmethod
    def purge(cls, days: int, batch: int = 5000) -> int:
        old = cls.select(cls.id).where((cls.finished_at < fn.now() - timedelta(days=days)) & cls.state.in_(FINISHED))
        return cls.delete().where(cls.id.in_(old.limit(batch))).execute()

    # ------------------------------------------------------------- the operator's verbs

    @classmethod
    def get_known(cls, job_id: UUID) -> "Job":
        job = cls.get_or_none(cls.id == job_id)
        if job is None:
            raise JobNotFound()
        return job

    @classmethod
    def listing(
        cls, *, state: str | None = None, name: str | None = None, queue: str | None = None, limit: int = 50
    ) -> list["Job"]:
        query = cls.select().order_by(cls.id.desc()).limit(limit)
        for field, wanted in ((cls.state, state), (cls.name, name), (cls.queue, queue)):
            query = query.where(field == wanted) if wanted else query
        return list(query)

    @classmethod
    def revive(cls, job_id: UUID) -> "Job":
        """Queue a dead or cancelled job again with its failures forgotten. The epoch stays: it must never repeat."""
        query = cls.update(
            state=QUEUED,
            failures=0,
            cancel_requested=False,
            finished_at=None,
            error=None,
            due_at=fn.now(),
            sent_at=fn.now(),
        ).where((cls.id == job_id) & cls.state.in_((DEAD, CANCELLED)))
        job = next(iter(query.returning(cls).execute()), None)
        if job is None:
            cls.get_known(job_id)
            raise JobNotRetryable()
        return job

    @classmethod
    def cancel(cls, job_id: UUID) -> "Job":
        """A queued job ends here and now; of a running one it is asked for and its worker sees it with the next heartbeat."""
        waiting = cls.state == QUEUED
        query = cls.update(
            cancel_requested=True,
            state=fn.coalesce(_when(waiting, CANCELLED), cls.state),
            finished_at=_when(waiting, fn.now()),
        ).where((cls.id == job_id) & cls.state.not_in(FINISHED))
        job = next(iter(query.returning(cls).execute()), None)
        if job is None:
            job = cls.get_known(job_id)
            if job.state != CANCELLED:
                raise JobFinished()
        return job


def _when(condition, value):
    """`value` where the condition holds, else NULL."""
    return Case(None, [(condition, value)], None)


def backlog() -> list[tuple[str, str, int, datetime | None]]:
    """(queue, state, jobs, oldest due) of everything unfinished: what operators and metrics look at."""
    query = (
        Job.select(Job.queue, Job.state, fn.count(SQL("*")), fn.min(Job.due_at))
        .where(Job.state.in_((QUEUED, RUNNING, DEAD)))
        .group_by(Job.queue, Job.state)
        .order_by(Job.queue, Job.state)
    )
    return list(query.tuples().execute(database))
