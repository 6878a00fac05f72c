"""How workflows and their runs are shown."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

from edge import attachments
from edge.schemas.workflows import (
    Status,
    WorkflowDescriptorResponse,
    WorkflowRunDetail,
    WorkflowRunListItem,
    WorkflowRunResponse,
    WorkflowStageDescriptor,
    WorkflowStepDescriptor,
    WorkflowStepResultSchema,
    WorkflowSummary,
)
from models.platform.clock import iso, iso_or_none
from models.platform.errors import BadRequest
from models.runs.run import Run
from models.workflows.runs import ListedRun, question_of, shown_state
from models.workflows.step import PENDING, SKIPPED, SUCCEEDED, WorkflowStep
from workers.workflows.catalog import Step, Workflow, workflows


class InvalidTime(BadRequest):
    code, message = "invalid_time", "Invalid datetime format; use ISO-8601"


def parse_time(text: str | None) -> datetime | None:
    """A time in ISO 8601, UTC unless it says otherwise. InvalidTime."""
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text.replace(" ", "+"))  # a + in a query that was not encoded
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise InvalidTime() from None


def summary(workflow: Workflow) -> WorkflowSummary:
    return WorkflowSummary(
        key=workflow.key,
        display_name=workflow.display_name,
        description=workflow.description,
        step_count=workflow.step_count,
        default=workflow.default,
    )


def describe(workflow: Workflow) -> WorkflowDescriptorResponse:
    return WorkflowDescriptorResponse(
        **summary(workflow).model_dump(),
        allow_handoff_agents=workflow.allow_handoff_agents,
        stages=[
            WorkflowStageDescriptor(
                name=stage.name,
                mode=stage.mode,
                reducer=_name(stage.reducer),
                steps=[_describe_step(step) for step in stage.steps],
            )
            for stage in workflow.all_stages
        ],
        output_schema=workflow.output_schema,
    )


def _describe_step(step: Step) -> WorkflowStepDescriptor:
    return WorkflowStepDescriptor(
        name=step.name,
        agent_key=step.agent,
        guard=_name(step.guard),
        guard_type="function" if step.guard else None,
        input_mapper=_name(step.input_mapper),
        input_mapper_type="function" if step.input_mapper else None,
        max_turns=step.max_turns,
        output_schema=step.output_schema,
    )


def _name(function: Callable[..., Any] | None) -> str | None:
    """The short name of a function of the declaration."""
    return getattr(function, "__name__", type(function).__name__) if function else None


def result(run: Run) -> WorkflowRunResponse:
    """The answer of a run that has succeeded."""
    steps = [step for step in WorkflowStep.of_run(run.id) if step.state == SUCCEEDED]
    found = run.result or {}
    workflow = workflows().by_key.get(run.agent)
    return WorkflowRunResponse(
        workflow_key=run.agent,
        workflow_run_id=str(run.id),
        conversation_id=run.conversation_key,
        steps=[_step(run, step, workflow) for step in steps],
        final_output=found.get("text") if found.get("structured") is None else found["structured"],
        output_schema=workflow.output_schema if workflow else None,
        usage=run.usage,
        attachments=attachments.signed_alone(run.tenant_id, found.get("attachments") or []),
        annotations=found.get("annotations") or [],
    )


def detail(run: Run) -> WorkflowRunDetail:
    workflow, found = workflows().by_key.get(run.agent), run.result or {}
    return WorkflowRunDetail(
        workflow_key=run.agent,
        workflow_run_id=str(run.id),
        tenant_id=str(run.tenant_id),
        user_id=_user(run),
        status=shown_state(run.state),
        started_at=iso(run.created_at),
        ended_at=iso_or_none(run.finished_at),
        final_output_text=found.get("text"),
        final_output_structured=found.get("structured"),
        request_message=question_of(run),
        conversation_id=run.conversation_key,
        output_schema=workflow.output_schema if workflow else None,
        steps=[_step(run, step, workflow) for step in WorkflowStep.of_run(run.id)],
        error=_error(run.error_code, run.error_message),
        usage=run.usage,
    )


def listed(row: ListedRun) -> WorkflowRunListItem:
    ended = row.finished_at
    return WorkflowRunListItem(
        workflow_run_id=str(row.id),
        workflow_key=row.agent,
        status=cast(Status, shown_state(row.state)),
        started_at=iso(row.created_at),
        ended_at=iso_or_none(ended),
        user_id=_user(row),
        conversation_id=row.conversation_key,
        step_count=row.step_count,
        duration_ms=round((ended - row.created_at).total_seconds() * 1000) if ended else None,
        final_output_text=row.final_output_text,
    )


def _step(run: Run, step: WorkflowStep, workflow: Workflow | None) -> WorkflowStepResultSchema:
    return WorkflowStepResultSchema(
        name=step.name,
        agent_key=step.agent,
        response_text=step.output_text,
        structured_output=step.output_structured,
        response_id=step.response_id,
        stage_name=step.stage_name,
        parallel_group=None if step.branch is None else step.stage_name,
        branch_index=step.branch,
        output_schema=_schema(step, workflow),
        status=step.shown_state(run),
        error=_error(step.error_code, step.error_message),
        usage=step.usage,
        started_at=iso_or_none(step.started_at),
        ended_at=iso_or_none(_end(run, step)),
    )


def _end(run: Run, step: WorkflowStep) -> datetime | None:
    """When the step ended: with its run, if that stopped it."""
    if step.finished_at or step.state in (SKIPPED, PENDING):
        return step.finished_at
    return run.finished_at


def _schema(step: WorkflowStep, workflow: Workflow | None) -> dict[str, Any] | None:
    """The schema in today's catalogue."""
    declared = [each for stage in workflow.all_stages for each in stage.steps] if workflow else []
    return next((each.output_schema for each in declared if each.name == step.name), None)


def _error(code: str | None, message: str | None) -> dict[str, str] | None:
    return {"code": code, "message": message or ""} if code else None


def _user(row: Run | ListedRun) -> str:
    """The user who started the run; empty if it was a service account."""
    return str(row.user_id) if row.user_id else ""
