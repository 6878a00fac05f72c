"""The job ledger. One row per job: what is to be done, who is doing it, and how it ended.

state       queued -> running -> succeeded | dead | cancelled
            running -> queued after a failure, a release at shutdown, or an expired lease
            running -> waiting for a person, without worker or lease; waiting -> queued once they have decided
epoch       number of claims so far; whoever finishes or renews a job must name the epoch of their claim
failures    number of claims that ended in an error or an expired lease since the job last made progress; at
            `max_failures` the job is dead
lease_until once a running job is past this time, its worker is taken for dead and the job may be claimed again
sent_at     when the job was last sent to the workers; null while it waits for its tenant's turn (models/jobs/lanes.py)
"""

from datetime import timedelta
from typing import Any, NamedTuple, cast
from uuid import UUID

from peewee import (
    BooleanField,
    Case,
    CharField,
    Expression,
    Function,
    IntegerField,
    ModelSelect,
    TextField,
    UUIDField,
    fn,
)

from models.platform.clock import now
from models.platform.database import Json, database, in_transaction
from models.platform.errors import Conflict, NotFound
from models.platform.ids import uuid7
from models.platform.model import BinaryJSONField, DateTimeTZField, Model

QUEUED, RUNNING, WAITING = "queued", "running", "waiting"
SUCCEEDED, DEAD, CANCELLED = "succeeded", "dead", "cancelled"
FINISHED = (SUCCEEDED, DEAD, CANCELLED)

ADD = """
insert into job (id, created_at, name, queue, args, tenant_id, run_id, state, epoch, failures, max_failures, exhausted,
    traceparent, due_at, sent_at, cancel_requested)
values (%(id)s, %(created_at)s, %(name)s, %(queue)s, %(args)s, %(tenant_id)s, %(run_id)s, 'queued', 0, 0,
    %(max_failures)s, %(exhausted)s, %(traceparent)s, %(created_at)s, %(created_at)s, false)"""
# Claim a job that is due or whose lease has expired. An expired lease counts as a failure.
CLAIM = """
update job set state = 'running', owner = %(owner)s, lease_until = now() + %(lease)s * interval '1 second',
    epoch = epoch + 1, failures = failures + (state = 'running')::int, started_at = coalesce(started_at, now())
where id = %(id)s and not cancel_requested and failures + (state = 'running')::int < max_failures
    and (state = 'queued' and due_at <= now() or state = 'running' and lease_until < now())
returning {columns}"""
# Finish a job if this epoch still owns it.
FINISH = """
update job set state = %(state)s, error = %(error)s, owner = null, lease_until = null, finished_at = now()
where id = %(id)s and epoch = %(epoch)s and state = 'running'"""


class JobNotFound(NotFound):
    code, message = "job_not_found", "Job not found."


class JobNotRetryable(Conflict):
    code, message = "job_not_retryable", "Only a dead or cancelled job can be retried."


class JobFinished(Conflict):
    code, message = "job_finished", "The job has ended already."


class LeaseLost(Exception):
    """This claim no longer owns the job. Nothing may be written on its behalf."""


class Renewal(NamedTuple):
    epoch: int
    cancel_requested: bool


class Job(Model):
    name = CharField()
    queue = CharField()
    args: dict[str, Any] = BinaryJSONField(default=dict)
    tenant_id = UUIDField(null=True)
    run_id = UUIDField(null=True)
    state = CharField(default=QUEUED)
    epoch = IntegerField(default=0)
    failures = IntegerField(default=0)
    max_failures = IntegerField(default=1)
    exhausted = CharField(null=True)
    traceparent = CharField(null=True)  # of the span that all attempts belong to
    due_at = DateTimeTZField(default=now)
    sent_at = DateTimeTZField(default=now, null=True)
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
    def add(
        cls,
        *,
        name: str,
        queue: str,
        args: dict[str, Any],
        run_id: UUID | None,
        tenant_id: UUID | None,
        max_failures: int,
        exhausted: str | None,
        traceparent: str | None = None,
    ) -> "Job":
        """Add a job that is due now. It is inserted with the transaction's next statement, or at its commit."""
        columns: dict[str, Any] = {
            "id": uuid7(),
            "created_at": now(),
            "name": name,
            "queue": queue,
            "args": args,
            "run_id": run_id,
            "tenant_id": tenant_id,
            "max_failures": max_failures,
            "exhausted": exhausted,
            "traceparent": traceparent,
        }
        database.execute_later(ADD, {**columns, "args": Json(args)})
        return cls(__no_default__=True, state=QUEUED, **columns)

    # ------------------------------------------------------------- workers

    @classmethod
    def claim(cls, job_id: UUID, owner: str, lease_seconds: float) -> "Job | None":
        """Take a job for `lease_seconds`. None if it is finished, cancelled, not due yet, or leased to another worker."""
        return cls.one(CLAIM, id=job_id, owner=owner, lease=lease_seconds)

    @classmethod
    def renew(cls, owner: str, job_ids: list[UUID], lease_seconds: float) -> dict[UUID, Renewal]:
        """Extend this owner's leases. Jobs that it no longer owns are missing from the answer."""
        is_owned = cls.id.in_(job_ids) & (cls.owner == owner) & (cls.state == RUNNING)
        query = cls.update(lease_until=_in(lease_seconds)).where(cls._in_order(is_owned))
        rows = query.returning(cls.id, cls.epoch, cls.cancel_requested).tuples().execute()
        return {job_id: Renewal(epoch, cancel_requested) for job_id, epoch, cancel_requested in rows}

    def finish(self, state: str = SUCCEEDED, error: str | None = None) -> None:
        """End the job. LeaseLost if this claim no longer owns it: called in a transaction, that undoes the rest of it."""
        values = {"id": self.id, "epoch": self.epoch, "state": state, "error": error}
        if not database.execute_prepared(FINISH, values).rowcount:
            raise LeaseLost(str(self.id))
        self.state = state

    @in_transaction
    def suspend(self) -> bool:
        """Let the job wait for a person: no worker has it until `wake`. False if a cancel was requested. May raise LeaseLost."""
        is_owned = (Job.id == self.id) & (Job.epoch == self.epoch) & (Job.state == RUNNING)
        query = Job.update(state=WAITING, owner=None, lease_until=None).where(is_owned & ~Job.cancel_requested)
        if query.execute():
            self.state = WAITING
            return True
        if Job.select().where(is_owned).exists():
            return False
        raise LeaseLost(str(self.id))

    @classmethod
    @in_transaction
    def wake(cls, job_id: UUID) -> "Job | None":
        """Queue a waiting job again: due now, without failures. The caller sends it. None if it does not wait (any more).

        The epoch is kept: it numbers the run's events.
        """
        query = cls.update(state=QUEUED, failures=0, error=None, due_at=fn.now(), sent_at=fn.now())
        rows: list[Job] = list(query.where((cls.id == job_id) & (cls.state == WAITING)).returning(cls).execute())
        return rows[0] if rows else None

    def made_progress(self) -> None:
        """Forget the failures so far: what this claim has done need not be done again. May raise LeaseLost."""
        is_owned = (Job.id == self.id) & (Job.epoch == self.epoch) & (Job.state == RUNNING)
        if self.failures and not Job.update(failures=0).where(is_owned).execute():
            raise LeaseLost(str(self.id))
        self.failures = 0

    def release(self) -> None:
        """Return the job to its queue at shutdown: due at once, and not counted as a failure. May raise LeaseLost."""
        self._requeue(due_at=fn.now(), sent_at=fn.now())

    def retry_later(self, error: str, seconds: float) -> None:
        """Return the job to its queue after a failure, due in `seconds`. May raise LeaseLost."""
        self._requeue(error=error, failures=self.failures + 1, due_at=_in(seconds), sent_at=_in(seconds))

    def put_off(self, seconds: float) -> None:
        """Return the job to its queue, due in `seconds`, and not as a failure: it waits for something. May raise LeaseLost."""
        self._requeue(due_at=_in(seconds), sent_at=_in(seconds))

    def _requeue(self, **changes: Any) -> None:
        is_owned = (Job.id == self.id) & (Job.epoch == self.epoch) & (Job.state == RUNNING)
        if not Job.update(state=QUEUED, owner=None, lease_until=None, **changes).where(is_owned).execute():
            raise LeaseLost(str(self.id))

    # ------------------------------------------------------------- operators

    @classmethod
    def find(cls, job_id: UUID) -> "Job":
        """The job with this id, or JobNotFound."""
        job = cls.get_or_none(cls.id == job_id)
        if job is None:
            raise JobNotFound()
        return job

    @classmethod
    def listing(
        cls, *, state: str | None = None, name: str | None = None, queue: str | None = None, limit: int = 50
    ) -> list["Job"]:
        """The newest jobs first, at most `limit`, filtered by whatever is not None."""
        query = cls.select().order_by(cls.id.desc()).limit(limit)
        for column, value in ((cls.state, state), (cls.name, name), (cls.queue, queue)):
            if value:
                query = query.where(column == value)
        return list(query)

    @classmethod
    def retry(cls, job_id: UUID) -> "Job":
        """Queue a dead or cancelled job again and forget its failures. JobNotFound, JobNotRetryable.

        The epoch is kept: it numbers the run's events and must never repeat.
        """
        query = cls.update(
            state=QUEUED,
            failures=0,
            cancel_requested=False,
            finished_at=None,
            error=None,
            due_at=fn.now(),
            sent_at=fn.now(),
        ).where((cls.id == job_id) & cls.state.in_((DEAD, CANCELLED)))
        jobs: list[Job] = list(query.returning(cls).execute())
        if not jobs:
            cls.find(job_id)
            raise JobNotRetryable()
        return jobs[0]

    @classmethod
    def cancel(cls, job_id: UUID) -> "Job":
        """Cancel a queued or waiting job, or ask the worker of a running one to stop. JobNotFound, JobFinished.

        Repeatable.
        """
        jobs = cls.cancel_where(cls.id == job_id)
        job = jobs[0] if jobs else cls.find(job_id)
        if job.state in (SUCCEEDED, DEAD):
            raise JobFinished()
        return job

    @classmethod
    def cancel_where(cls, condition: Expression) -> list["Job"]:
        """Cancel the queued and waiting jobs among those that match, and ask the workers of the running ones to stop.

        Workers see the request when they next renew their leases. Returns the jobs that were not finished before.
        """
        has_no_worker = cls.state.in_((QUEUED, WAITING))
        query = cls.update(
            cancel_requested=True,
            state=Case(None, [(has_no_worker, CANCELLED)], cls.state),
            finished_at=Case(None, [(has_no_worker, fn.now())]),
        ).where(cls._in_order(condition & cls.state.not_in(FINISHED)))
        return list(query.returning(cls).execute())

    # ------------------------------------------------------------- runs with several jobs

    @classmethod
    def _in_order(cls, condition: Expression) -> Expression:
        """The condition, for an update that locks its rows in the order of their ids: two of them cannot deadlock."""
        return cls.id.in_(cls._locked(condition))

    @classmethod
    def _locked(cls, condition: Expression) -> "ModelSelect[Job]":
        return cls.select(cls.id).where(condition).order_by(cls.id).for_update()

    @classmethod
    @in_transaction
    def lock_open(cls, run_id: UUID) -> None:
        """Lock the jobs of a run that have not ended: whatever ends several of them, or looks whether others have ended,
        begins with this, so that those of one run come one after the other."""
        list(cls._locked((cls.run_id == run_id) & cls.state.not_in(FINISHED)))

    @classmethod
    @in_transaction
    def lock_all(cls, job_ids: list[UUID]) -> None:
        list(cls._locked(cls.id.in_(job_ids)))

    @classmethod
    def is_any_running(cls, run_id: UUID) -> bool:
        return cls.select(cls.id).where((cls.run_id == run_id) & (cls.state == RUNNING)).exists()

    def running_before(self) -> int:
        """How many other jobs of this name began earlier, and are still running."""
        is_earlier = (Job.started_at < self.started_at) | ((Job.started_at == self.started_at) & (Job.id < self.id))
        running = Job.select(Job.id).where((Job.state == RUNNING) & (Job.name == self.name) & (Job.id != self.id))
        return int(running.where(is_earlier).count())

    @classmethod
    def purge(cls, days: int, limit: int = 5000) -> int:
        """Delete at most `limit` jobs that finished more than `days` days ago. Returns how many were deleted."""
        is_old = (cls.finished_at < fn.now() - timedelta(days=days)) & cls.state.in_(FINISHED)
        expired = cls.select(cls.id).where(is_old).limit(limit)
        return cast(int, cls.delete().where(cls.id.in_(expired)).execute())


def _in(seconds: float) -> Function | Expression:
    return fn.now() + timedelta(seconds=seconds)
