"""Runs: work that a client watches. A run ends once. Its terminal event is stored with its end, and sent after that.

A run may wait for a person (models/runs/waiting.py). The event that says so is stored and sent in the same way.
"""

from typing import Any
from uuid import UUID

from peewee import SQL, BigIntegerField, CharField, IntegrityError, TextField, UUIDField, fn

from models.jobs.ledger import RUNNING as JOB_RUNNING
from models.jobs.ledger import Job, JobNotRetryable
from models.platform.authorization import RUN_READ
from models.platform.clock import now
from models.platform.database import database, in_transaction, transaction
from models.platform.errors import Conflict, NotFound
from models.platform.ids import parse_uuid
from models.platform.model import BinaryJSONField, DateTimeTZField, TenantModel
from models.platform.principal import Principal
from models.platform.redis import redis_client
from models.runs import events, holds, progress
from models.runs import usage as used
from models.runs.approvals import Approval

QUEUED, RUNNING, WAITING = "queued", "running", "waiting"
SUCCEEDED, FAILED, CANCELLED = "succeeded", "failed", "cancelled"
ACTIVE = (QUEUED, RUNNING, WAITING)
CHAT, WORKFLOW, INDEXING = "chat", "workflow", "indexing"  # kinds


class RunNotFound(NotFound):
    code, message = "run_not_found", "Run not found."


class RunFinished(Conflict):
    code, message = "run_finished", "The run has ended already."


class Run(TenantModel):
    owner, reading = "user_id", RUN_READ
    user_id = UUIDField(null=True)  # null if a service account started the run
    kind = CharField(default=CHAT)
    conversation_id = UUIDField(null=True)
    conversation_key = CharField()
    agent = CharField()  # of a workflow its key
    state = CharField(default=QUEUED)
    request: dict[str, Any] = BinaryJSONField(default=dict)
    idempotency_key = CharField(null=True)
    fingerprint = CharField(null=True)
    result: dict[str, Any] | None = BinaryJSONField(null=True)
    usage: dict[str, int] | None = BinaryJSONField(null=True)
    waiting: dict[str, Any] | None = BinaryJSONField(null=True)  # the event of its last wait, over or not
    terminal: dict[str, Any] | None = BinaryJSONField(null=True)
    terminal_sequence = BigIntegerField(null=True)
    error_code = CharField(null=True)
    error_message = TextField(null=True)
    started_at = DateTimeTZField(null=True)
    finished_at = DateTimeTZField(null=True)

    class Meta:
        table_name = "run"

    @property
    def is_finished(self) -> bool:
        return self.state not in ACTIVE

    @property
    def waiting_sequence(self) -> int:
        """The number of the event that said that the run waits; 0 if it never did."""
        return int(self.waiting["sequence_number"]) if self.waiting else 0

    @property
    def cancel_requested(self) -> bool:
        """Whether a cancel was requested, including one that has taken effect."""
        if self.is_finished:
            return self.state == CANCELLED
        return Job.select().where((Job.run_id == self.id) & Job.cancel_requested).exists()

    @classmethod
    def find(cls, principal: Principal, run_id: object) -> "Run":
        """The run with this id, given as a UUID or its text. RunNotFound if this caller may not see it."""
        run_uuid = parse_uuid(run_id)
        run = cls.visible_to(principal).where(cls.id == run_uuid).get_or_none() if run_uuid else None
        if run is None:
            raise RunNotFound()
        return run

    @classmethod
    def resting_among(cls, run_ids: list[UUID]) -> list["Run"]:
        """Those of these runs that have ended or wait: their streams say nothing more for now."""
        return list(cls.select().where(cls.id.in_(run_ids) & cls.state.not_in((QUEUED, RUNNING))))

    # ------------------------------------------------------------- ending

    @in_transaction
    def finish(
        self,
        state: str,
        terminal: dict[str, Any],
        sequence: int,
        *,
        error_code: str | None = None,
        error_message: str | None = None,
        usage: dict[str, int] | None = None,
        result: dict[str, Any] | None = None,
    ) -> bool:
        """End the run with its terminal event, numbered `sequence`. False if it had ended already."""
        changes: dict[str, Any] = {
            "state": state,
            "terminal": {**terminal, "sequence_number": sequence},
            "terminal_sequence": sequence,
            "error_code": error_code,
            "error_message": error_message,
            "finished_at": now(),
        }
        if self.kind == CHAT:
            usage = usage or used.journaled(self.id).get("")
        if self.kind == INDEXING:
            usage = usage or self.usage
        if usage:
            changes["usage"] = usage
        if result is not None:
            changes["result"] = result
        has_ended = bool(Run.update(**changes).where((Run.id == self.id) & Run.state.in_(ACTIVE)).execute())
        self._count(state, usage or {})
        if not has_ended:
            return False
        for name, value in changes.items():
            setattr(self, name, value)
        Approval.cancel_open(self.id)
        return True

    def _count(self, state: str, usage: dict[str, int]) -> None:
        """Count what the run has used, of a workflow what its stopped steps have: the others did as they ended."""
        tokens = used.of_chat(usage) if self.kind == CHAT else used.of_indexing(usage) if self.kind == INDEXING else {}
        used.record(self.tenant_id, self.id, tokens)
        if self.kind == WORKFLOW and state != SUCCEEDED:
            used.record_steps(self.tenant_id, self.id)
        if self.kind == CHAT:
            database.after_commit(lambda: holds.settle(self.tenant_id, self.id, tokens))
        else:  # Redis does not count what it does not hold, and it holds no other runs once it has loaded the tenant again
            database.after_commit(lambda: holds.forget(self.tenant_id))

    @classmethod
    @in_transaction
    def close(cls, run_id: UUID, state: str, code: str, message: str) -> "Run | None":
        """End a run that has no result, as failed or cancelled. None if it was deleted or had ended already."""
        run = cls.lock(run_id)
        if run is None:
            return None
        agent = None if run.kind == WORKFLOW else run.agent
        if state == CANCELLED:
            terminal = events.cancelled(run.conversation_key, agent, message)
        else:
            terminal = events.failed(run.conversation_key, agent, code, message)
        if run.kind == WORKFLOW:
            terminal = events.of_workflow(terminal, run.agent, run.id)
        sequence = run.last_sequence()
        return run if run.finish(state, terminal, sequence, error_code=code, error_message=message) else None

    def last_sequence(self) -> int:
        """A number for the terminal event that is larger than that of any event so far.

        That of a run with one job is the last one of the job's epoch. All claims of a workflow's jobs write to one stream, each of
        them fewer than EPOCH_SIZE events. Those of an earlier life of the run, and of a wait for a person, come before.
        """
        size, own = progress.EPOCH_SIZE, Job.run_id == self.id
        if self.kind != WORKFLOW:
            return max(1, size * (Job.select(fn.max(Job.epoch)).where(own).scalar() or 0))
        epochs = int(Job.select(fn.sum(Job.epoch)).where(own).scalar() or 0)
        return max(size * epochs, size + self.waiting_sequence, size + int(self.request.get("floor") or 0))

    @classmethod
    @in_transaction
    def stop(cls, run_id: UUID) -> "Run | None":
        """Cancel a run's jobs, and close the run as cancelled unless a worker is still busy with it.

        That worker sees the request within a heartbeat, ends its job and calls this again. Returns the run if it was
        closed: after the commit the caller sends its terminal event. If the caller dies before it does, the relay reads
        the event from the row (docs/streams.md).
        """
        Job.lock_open(run_id)
        jobs = Job.cancel_where(Job.run_id == run_id)
        if any(job.state == JOB_RUNNING for job in jobs):
            return None
        return cls.close(run_id, CANCELLED, "cancelled", "The run was cancelled.")

    @classmethod
    def cancel(cls, principal: Principal, run_id: object) -> "Run":
        """Cancel a run: at once if it is queued or waits, else as soon as its worker sees it. RunNotFound, RunFinished.

        Repeatable.
        """
        run = cls.find(principal, run_id)
        with transaction():
            closed = cls.stop(run.id)
        if closed:
            progress.send_terminal_or_log(closed)
        run = cls.find(principal, run_id)
        if run.state in (SUCCEEDED, FAILED):
            raise RunFinished(details={"run_id": str(run.id), "state": run.state})
        return run

    @classmethod
    @in_transaction
    def requeue(cls, run_id: UUID) -> None:
        """Open a failed or cancelled run again, for a retry of its job or jobs. JobNotRetryable.

        It holds again what it had reserved; that it may is for the caller to ask.
        """
        if Job.is_any_running(run_id):
            raise JobNotRetryable("Another job of the run is still stopping. Retry in a moment.")
        try:
            cls.update(
                state=QUEUED,
                waiting=None,
                request=SQL("request || jsonb_build_object('floor', terminal_sequence)"),
                terminal=None,
                terminal_sequence=None,
                error_code=None,
                error_message=None,
                finished_at=None,
            ).where((cls.id == run_id) & (cls.state != SUCCEEDED)).execute()
        except IntegrityError:  # the unique index run_one_active
            raise JobNotRetryable("Another run is active in this conversation. Retry when it has ended.") from None
        redis_client().delete(progress.stream_key(run_id), progress.writers_key(run_id))
