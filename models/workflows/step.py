"""The steps of a workflow run: what each was given, and how it ended.

state   pending -> running -> succeeded | failed; or skipped, because its guard said so
        A step that had not ended when its run did has no state of its own: the run's says it (`shown_state`).
"""

from typing import Any
from uuid import UUID

from peewee import CharField, IntegerField, TextField, UUIDField, fn

from models.jobs.ledger import RUNNING as JOB_RUNNING
from models.jobs.ledger import Job, LeaseLost
from models.platform.clock import now
from models.platform.database import database, in_transaction
from models.platform.json import storable_text, storable_value
from models.platform.model import BinaryJSONField, DateTimeTZField, Model
from models.runs import usage
from models.runs.run import ACTIVE, CANCELLED, Run

PENDING, RUNNING, SUCCEEDED, FAILED, SKIPPED = "pending", "running", "succeeded", "failed", "skipped"
OPEN = (PENDING, RUNNING)
ADD_USAGE = """
update run set usage = (
    select jsonb_object_agg(name, total) from (
        select used.name, sum(used.tokens::bigint) as total
        from workflow_step, jsonb_each_text(workflow_step.usage) as used(name, tokens)
        where workflow_step.run_id = %(run_id)s group by used.name
    ) sums
)
where id = %(run_id)s"""


class WorkflowStep(Model):
    """`stage`: index of its stage; `branch`: its index in a parallel stage. `input`: what its agent is told, as JSON.
    `attachments`: what was made in it. `sources`: what its text cites."""

    run_id = UUIDField()
    job_id = UUIDField(null=True)  # null if it was skipped
    sequence = IntegerField()
    stage = IntegerField()
    stage_name = CharField()
    branch = IntegerField(null=True)
    name = CharField()
    agent = CharField()
    state = CharField(default=PENDING)
    input: Any = BinaryJSONField(null=True)
    output_text = TextField(null=True)
    output_structured: Any = BinaryJSONField(null=True)
    response_id = CharField(null=True)
    usage: dict[str, int] | None = BinaryJSONField(null=True)
    attachments: list[dict[str, Any]] = BinaryJSONField(default=list)
    sources: list[dict[str, Any]] = BinaryJSONField(default=list)
    error_code = CharField(null=True)
    error_message = TextField(null=True)
    started_at = DateTimeTZField(null=True)
    finished_at = DateTimeTZField(null=True)

    class Meta:
        table_name = "workflow_step"

    @property
    def output(self) -> Any:
        """What later steps get: the structured output, else the text."""
        return self.output_text if self.output_structured is None else self.output_structured

    @property
    def is_open(self) -> bool:
        return self.state in OPEN

    def shown_state(self, run: Run) -> str:
        """The state to show: a step that was open when its run ended was cancelled with it."""
        return CANCELLED if self.is_open and run.state not in ACTIVE else self.state

    @classmethod
    def of_run(cls, run_id: UUID) -> list["WorkflowStep"]:
        """All steps so far, in order."""
        return list(cls.select().where(cls.run_id == run_id).order_by(cls.sequence))

    # ------------------------------------------------------------- workers

    def begin(self, job: Job) -> None:
        """The step's job was claimed, perhaps again. LeaseLost, and nothing changes, if the claim no longer owns it."""
        is_owned = (Job.id == job.id) & (Job.epoch == job.epoch) & (Job.state == JOB_RUNNING)
        may_begin = WorkflowStep.state.in_((*OPEN, FAILED)) & fn.exists(Job.select().where(is_owned))
        query = WorkflowStep.update(
            state=RUNNING, started_at=fn.coalesce(WorkflowStep.started_at, fn.now()), finished_at=None,
            error_code=None, error_message=None,
        ).where((WorkflowStep.id == self.id) & may_begin)  # fmt: skip
        if not query.execute():
            raise LeaseLost(str(job.id))

    @in_transaction
    def succeed(self, text: str, structured: Any, response_id: str | None, tokens: dict[str, int], **more: Any) -> None:
        """`more`: attachments and sources."""
        text, structured = storable_text(text), storable_value(structured)
        more = {name: storable_value(value) for name, value in more.items()}
        values = {"output_text": text, "output_structured": structured, "response_id": response_id, "usage": tokens}
        self._end(state=SUCCEEDED, **values, **more)

    @in_transaction
    def fail(self, code: str, message: str, tokens: dict[str, int] | None = None) -> None:
        self._end(state=FAILED, error_code=code, error_message=message, usage=tokens)

    def _end(self, **changes: Any) -> None:
        changes["finished_at"] = now()
        WorkflowStep.update(**changes).where((WorkflowStep.id == self.id) & WorkflowStep.state.in_(OPEN)).execute()
        for name, value in changes.items():
            setattr(self, name, value)

    @in_transaction
    def meter(self, run: Run, total: dict[str, int]) -> None:
        """Count the tokens of the step. `total`: with those of the responses that earlier attempts have finished."""
        usage.record_step(run.tenant_id, self.run_id, str(self.sequence), total)

    @classmethod
    @in_transaction
    def add_usage(cls, run_id: UUID) -> None:
        """Let the run's usage be the sum of its steps'."""
        database.execute_prepared(ADD_USAGE, {"run_id": run_id})

    @classmethod
    def stopped_jobs(cls, run_id: UUID) -> list[UUID]:
        """The jobs of the steps that have not succeeded, if they have ended."""
        jobs = Job.select(Job.id).where((Job.run_id == run_id) & Job.state.in_(("dead", "cancelled")))
        is_unfinished = (cls.run_id == run_id) & cls.state.in_((*OPEN, FAILED))
        rows = cls.select(cls.job_id).where(is_unfinished & cls.job_id.in_(jobs))
        return [row.job_id for row in rows if row.job_id]
