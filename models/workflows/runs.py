"""Workflow runs as clients see them: reading, listing, cancelling, and opening a failed one again."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from peewee import fn

from models.conversations.conversation import Message
from models.jobs.ledger import Job
from models.platform.database import in_transaction, transaction
from models.platform.errors import Conflict, NotFound
from models.platform.ids import parse_uuid
from models.platform.keyset import KeysetPage
from models.platform.principal import Principal
from models.runs import progress
from models.runs.run import ACTIVE, CANCELLED, FAILED, SUCCEEDED, WORKFLOW, Run
from models.workflows.step import PENDING, SKIPPED, WorkflowStep

# As clients see them: a run that waits for a worker is running, too.
STATES = {"running": ACTIVE, "succeeded": (SUCCEEDED,), "failed": (FAILED,), "cancelled": (CANCELLED,)}


class WorkflowRunNotFound(NotFound):
    code = "workflow_run_not_found"

    def __init__(self, run_id: object) -> None:
        super().__init__(f"Workflow run '{str(run_id)[:64]}' not found")


class WorkflowRunNotActive(Conflict):
    code, message = "workflow_run_not_active", "Workflow run is not active"


class WorkflowRunNotRetryable(Conflict):
    code, message = "workflow_run_not_retryable", "Only a failed or cancelled workflow run can be retried."


class ListedRun(NamedTuple):
    """What lists show of a run."""

    id: UUID
    created_at: datetime
    agent: str
    state: str
    user_id: UUID | None
    conversation_key: str
    finished_at: datetime | None
    final_output_text: str | None
    step_count: int


def shown_state(state: str) -> str:
    return "running" if state in ACTIVE else state


def find(principal: Principal, run_id: object) -> Run:
    """WorkflowRunNotFound if there is none with this id that this caller may see."""
    run_uuid = parse_uuid(run_id)
    is_this = (Run.id == run_uuid) & (Run.kind == WORKFLOW)
    run = Run.visible_to(principal).where(is_this).get_or_none() if run_uuid else None
    if run is None:
        raise WorkflowRunNotFound(run_id)
    return run


def page(
    principal: Principal,
    limit: int,
    cursor: str | None = None,
    *,
    workflow_key: str | None = None,
    state: str | None = None,
    conversation_key: str | None = None,
    started_before: datetime | None = None,
    started_after: datetime | None = None,
) -> KeysetPage[ListedRun]:
    """The caller's runs, the newest first. `state`: one of STATES. The times are inclusive. InvalidCursor."""
    query = Run.visible_to(principal).where(Run.kind == WORKFLOW)
    if workflow_key is not None:
        query = query.where(Run.agent == workflow_key)
    if state is not None:
        query = query.where(Run.state.in_(STATES[state]))
    if conversation_key is not None:
        query = query.where(Run.conversation_key == conversation_key)
    if started_before is not None:
        query = query.where(Run.created_at <= started_before)
    if started_after is not None:
        query = query.where(Run.created_at >= started_after)
    is_counted = (WorkflowStep.run_id == Run.id) & WorkflowStep.state.not_in((PENDING, SKIPPED))
    steps = WorkflowStep.select(fn.count(WorkflowStep.id)).where(is_counted)
    columns = [getattr(Run, name) for name in ListedRun._fields[:7]]
    text = fn.jsonb_extract_path_text(Run.result, "text")
    return KeysetPage.of(query.select(*columns, text, steps), ListedRun, (Run.created_at, Run.id), limit, cursor)


def question_of(run: Run) -> str | None:
    """The message that the run was started with; None if it is gone."""
    message = Message.get_or_none((Message.run_id == run.id) & (Message.role == "user"))
    return message.content if message else None


def cancel(principal: Principal, run_id: object) -> None:
    """Cancel an active run at once. Its workers see it within a heartbeat. WorkflowRunNotFound, WorkflowRunNotActive."""
    run = find(principal, run_id)
    with transaction():
        Job.cancel_where(Job.run_id == run.id)
        closed = Run.close(run.id, CANCELLED, "cancelled", "The run was cancelled.")
    if closed is None:
        raise WorkflowRunNotActive()
    progress.send_terminal_or_log(closed)


@in_transaction
def reopen(principal: Principal, run_id: object) -> tuple[Run, list[UUID]]:
    """Open a failed or cancelled run again. Returns the run, and the jobs of the steps with which it goes on: the caller
    queues them; if there are none, the caller has the run advanced. WorkflowRunNotFound, WorkflowRunNotRetryable."""
    run = find(principal, run_id)
    if run.state not in (FAILED, CANCELLED):
        raise WorkflowRunNotRetryable()
    if Job.is_any_running(run.id):
        raise WorkflowRunNotRetryable("The run is still stopping. Retry in a moment.", headers={"Retry-After": "1"})
    stopped = WorkflowStep.stopped_jobs(run.id)
    Job.lock_all(stopped)
    locked = Run.lock(run.id)
    if locked is None:
        raise WorkflowRunNotFound(run_id)
    if locked.state not in (FAILED, CANCELLED):
        raise WorkflowRunNotRetryable()
    Run.requeue(run.id)
    return locked, stopped
