"""Runs: work that a client watches. A run ends once, and its terminal event is stored with it before anybody sees it."""

from typing import Any
from uuid import UUID

from peewee import BigIntegerField, CharField, IntegrityError, TextField, UUIDField, fn

from models.jobs import ledger
from models.platform.clock import now
from models.platform.database import in_transaction, transaction
from models.platform.errors import Conflict, NotFound
from models.platform.ids import parse_uuid
from models.platform.model import BinaryJSONField, DateTimeTZField, TenantModel
from models.platform.principal import Principal
from models.platform.redis import redis_client
from models.runs import events, progress

QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED = "queued", "running", "succeeded", "failed", "cancelled"
ACTIVE = (QUEUED, RUNNING)

# A run begins, and its worker learns in the same round trip what it needs to answer.
BEGIN = """
with begun as (
    update run set state = 'running', started_at = coalesce(started_at, now())
    where id = %(id)s and state in ('queued', 'running')
    returning *
)
select {begun.columns}, users.display_name as user_name, (
    select coalesce(json_agg(json_build_object('role', role, 'content', content) order by position), '[]') from (
        select role, content, position from message where conversation_id = begun.conversation_id
        order by position desc limit %(history)s) newest
) as history
from begun left join users on users.id = begun.user_id"""


class RunNotFound(NotFound):
    code, message = "run_not_found", "Run not found."


class RunFinished(Conflict):
    code, message = "run_finished", "The run has ended already."


class Run(TenantModel):
    owner = "user_id"
    user_id = UUIDField(null=True)  # none: a service account has started it
    kind = CharField(default="chat")
    conversation_id = UUIDField(null=True)
    conversation_key = CharField()
    agent = CharField()
    state = CharField(default=QUEUED)
    request = BinaryJSONField(default=dict)
    idempotency_key = CharField(null=True)
    fingerprint = CharField(null=True)
    result = BinaryJSONField(null=True)
    usage = BinaryJSONField(null=True)
    terminal = BinaryJSONField(null=True)
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
    def cancel_requested(self) -> bool:
        """Whether somebody has asked for a stop, whether or not it has taken effect."""
        if self.is_finished:
            return self.state == CANCELLED
        return ledger.Job.select().where((ledger.Job.run_id == self.id) & ledger.Job.cancel_requested).exists()

    @classmethod
    def find(cls, principal: Principal, run_id: object) -> "Run":
        known = parse_uuid(run_id)
        run = known and cls.visible_to(principal).where(cls.id == known).first()
        if not run:
            raise RunNotFound()
        return run

    @classmethod
    def finished_among(cls, run_ids: list[UUID]) -> list["Run"]:
        return list(cls.select().where(cls.id.in_(run_ids) & cls.state.not_in(ACTIVE)))

    @classmethod
    def begin(cls, run_id: UUID, history: int) -> "Run | None":
        """The run, now running, with its `user_name` and the `history` that a model reads: the newest messages, oldest
        first, each {role, content}. None when the run is gone or ended already.
        """
        return cls.one(BEGIN, id=run_id, history=history)

    @in_transaction
    def conclude(self, state: str, terminal: dict[str, Any], sequence: int, **fields: Any) -> bool:
        """In the caller's transaction: end the run with its terminal event. False when it has ended already."""
        terminal = {**terminal, "sequence_number": sequence}
        changes = {"state": state, "terminal": terminal, "terminal_sequence": sequence, "finished_at": now(), **fields}
        ended = Run.update(**changes).where((Run.id == self.id) & Run.state.in_(ACTIVE)).execute()
        for name, value in changes.items() if ended else ():
            setattr(self, name, value)
        return bool(ended)

    @classmethod
    @in_transaction
    def close(cls, run_id: UUID, state: str, code: str, message: str, *, epoch: int | None = None) -> "Run | None":
        """In the caller's transaction: end a run that brought no result. None when it is gone or ended already.

        The terminal event takes the last number of the epoch: no event of the attempt can come after it.
        """
        run = cls.lock(run_id)
        if run is None:
            return None
        if epoch is None:
            epoch = ledger.Job.select(fn.max(ledger.Job.epoch)).where(ledger.Job.run_id == run_id).scalar() or 0
        if state == CANCELLED:
            terminal = events.cancelled(run.conversation_key, run.agent, message)
        else:
            terminal = events.failed(run.conversation_key, run.agent, code, message)
        sequence = max(1, epoch * progress.EPOCH_SIZE)
        return run if run.conclude(state, terminal, sequence, error_code=code, error_message=message) else None

    @classmethod
    def cancel(cls, principal: Principal, run_id: object) -> "Run":
        """Ask for a stop. A queued run ends at once; a running one when its worker sees the request. Repeatable."""
        run = cls.find(principal, run_id)
        ended = None
        with transaction():
            job = (
                ledger.Job.select()
                .where((ledger.Job.run_id == run.id) & (ledger.Job.name != "run.fail"))
                .for_update()
                .first()
            )
            if job and not job.is_finished:
                job = ledger.Job.cancel(job.id)
            if job is None or job.state == ledger.CANCELLED:
                ended = cls.close(run.id, CANCELLED, "cancelled", "The run was cancelled.")
        if ended:
            progress.end(ended)
        run = cls.find(principal, run_id)
        if run.state in (SUCCEEDED, FAILED):
            raise RunFinished(details={"run_id": str(run.id), "state": run.state})
        return run

    @classmethod
    @in_transaction
    def reopen(cls, run_id: UUID) -> None:
        """In the caller's transaction: an operator retries the run's dead job."""
        try:
            cls.update(
                state=QUEUED,
                terminal=None,
                terminal_sequence=None,
                error_code=None,
                error_message=None,
                finished_at=None,
            ).where((cls.id == run_id) & (cls.state != SUCCEEDED)).execute()
        except IntegrityError:  # run_one_active
            raise ledger.JobNotRetryable(
                "Its conversation is answering something else. Retry when that has ended."
            ) from None
        redis_client().delete(progress.stream_key(run_id))


__all__ = ["Run", "RunFinished", "RunNotFound"]
