"""The changes of a run between its steps. Each is a part of the transaction that ends a job of the run."""

from typing import Any

from models.conversations import recording
from models.jobs.ledger import Job
from models.platform.database import in_transaction
from models.platform.ids import uuid7
from models.platform.json import encode
from models.runs import events, usage
from models.runs.run import FAILED, SUCCEEDED, Run
from models.workflows import runs
from models.workflows.step import PENDING, SKIPPED, WorkflowStep
from models.workflows.step import SUCCEEDED as STEP_SUCCEEDED
from workers.agents import citations
from workers.jobs import WORKFLOW_STEP, enqueue
from workers.workflows import checks
from workers.workflows.catalog import Workflow, WorkflowNotFound, workflows
from workers.workflows.plan import NewStep, WorkflowFailed, plan


@in_transaction
def advance(run: Run) -> list[WorkflowStep]:
    """Begin the run's next steps, or end it if there are none. Returns all its steps. The run is locked and active."""
    steps = WorkflowStep.of_run(run.id)
    try:
        workflow = declaration(run)
        found = plan(workflow, lambda: runs.question_of(run) or "", steps)
        new = [_row(run, len(steps) + number, step) for number, step in enumerate(found.new)]
        if found.is_done:
            _finish(run, workflow, found.output, steps)
    except WorkflowFailed as error:
        fail(run, error.code, error.message)
        return steps
    for step in new:
        if step.state == PENDING:
            step.job_id = enqueue(WORKFLOW_STEP, run_id=run.id, tenant_id=run.tenant_id, step_id=str(step.id)).id
        step.save(force_insert=True)
    return [*steps, *new]


@in_transaction
def fail(run: Run, code: str, message: str) -> None:
    """End the run as failed, and stop its other jobs: their workers see it within a heartbeat."""
    Job.cancel_where(Job.run_id == run.id)
    if ended := Run.close(run.id, FAILED, code, message):
        run.terminal, run.terminal_sequence, run.state = ended.terminal, ended.terminal_sequence, ended.state


def declaration(run: Run) -> Workflow:
    """The workflow of a run. WorkflowFailed if a deploy has removed it."""
    try:
        return workflows().get(run.agent)
    except WorkflowNotFound as error:
        raise WorkflowFailed("workflow_gone", error.message) from None


def _row(run: Run, sequence: int, new: NewStep) -> WorkflowStep:
    return WorkflowStep(
        id=uuid7(),
        run_id=run.id,
        sequence=sequence,
        stage=new.stage,
        stage_name=new.stage_name,
        branch=new.branch,
        name=new.step.name,
        agent=new.step.agent,
        state=SKIPPED if new.is_skipped else PENDING,
        input=new.input,
    )


def _finish(run: Run, workflow: Workflow, output: Any, steps: list[WorkflowStep]) -> None:
    """Store the answer and end the run."""
    if output is not None and (reason := checks.mismatch(output, workflow.output_schema)):
        raise WorkflowFailed("output_invalid", f"The output of the workflow does not fit its schema: {reason}.")
    text = output if isinstance(output, str) or output is None else encode(output).decode()
    structured = None if isinstance(output, str) else output
    agent = next((step.agent for step in reversed(steps) if step.state == STEP_SUCCEEDED), None)
    attachments = [made for step in steps for made in step.attachments]
    sources = citations.by_label(source for step in steps for source in step.sources)
    annotations = citations.found_in(text, sources) if text and structured is None else []
    payload = {"annotations": annotations} if annotations else {}
    event = events.succeeded(
        run.conversation_key, agent, text, structured, payload=payload, attachments=attachments or None
    )
    terminal = events.of_workflow(event, run.agent, run.id)
    result = {"text": text, "structured": structured, "agent_used": agent}
    more = {"attachments": attachments, "annotations": annotations}
    result |= {name: value for name, value in more.items() if value}
    if run.finish(SUCCEEDED, terminal, run.last_sequence(), result=result) and text and agent:
        recording.add_answer(run, text, agent, attachments, annotations)
        usage.record(run.tenant_id, run.id, {usage.MESSAGES: 1})
