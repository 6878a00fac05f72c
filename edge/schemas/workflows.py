"""Workflows, their runs, and the events of a run's stream."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from edge.schemas.chat import ANNOTATIONS, Question, StreamingEvent
from edge.schemas.common import MessageAttachment

Status = Literal["running", "succeeded", "failed", "cancelled"]


class WorkflowSummary(BaseModel):
    key: str
    display_name: str
    description: str
    step_count: int
    default: bool = False


class WorkflowStepDescriptor(BaseModel):
    name: str
    agent_key: str
    guard: str | None = None
    guard_type: str | None = None
    input_mapper: str | None = None
    input_mapper_type: str | None = None
    max_turns: int | None = None
    output_schema: dict[str, Any] | None = None


class WorkflowStageDescriptor(BaseModel):
    name: str
    mode: Literal["sequential", "parallel"]
    reducer: str | None = None
    steps: list[WorkflowStepDescriptor]


class WorkflowDescriptorResponse(BaseModel):
    key: str
    display_name: str
    description: str
    default: bool
    allow_handoff_agents: bool
    step_count: int
    stages: list[WorkflowStageDescriptor]
    output_schema: dict[str, Any] | None = None


class WorkflowRunRequestBody(Question):
    share_location: bool | None = None

    def options(self) -> dict[str, Any]:
        """What the run stores of the request besides its message."""
        location = self.shared_location(self.share_location)
        return {"location": location} if location else {}


class WorkflowStepResultSchema(BaseModel):
    name: str
    agent_key: str
    response_text: str | None
    structured_output: Any | None = None
    response_id: str | None = None
    stage_name: str | None = None
    parallel_group: str | None = None
    branch_index: int | None = None
    output_schema: dict[str, Any] | None = None
    status: str = "succeeded"
    error: dict[str, str] | None = None
    usage: dict[str, int] | None = None
    started_at: str | None = None
    ended_at: str | None = None


class WorkflowRunResponse(BaseModel):
    workflow_key: str
    workflow_run_id: str
    conversation_id: str
    steps: list[WorkflowStepResultSchema]
    final_output: Any | None
    output_schema: dict[str, Any] | None = None
    usage: dict[str, int] | None = None
    attachments: list[MessageAttachment] = Field(
        default_factory=list, description="What the agents have made. Beyond the contract."
    )
    annotations: list[dict[str, Any]] = Field(default_factory=list, description=ANNOTATIONS)


class WorkflowRunListItem(BaseModel):
    workflow_run_id: str
    workflow_key: str
    status: Status
    started_at: str
    ended_at: str | None = None
    user_id: str
    conversation_id: str | None = None
    step_count: int
    duration_ms: int | None = None
    final_output_text: str | None = None


class WorkflowRunListResponse(BaseModel):
    items: list[WorkflowRunListItem]
    next_cursor: str | None = None


class WorkflowRunDetail(BaseModel):
    workflow_key: str
    workflow_run_id: str
    tenant_id: str
    user_id: str
    status: str
    started_at: str
    ended_at: str | None
    final_output_text: str | None
    final_output_structured: Any | None
    request_message: str | None
    conversation_id: str | None
    output_schema: dict[str, Any] | None = None
    steps: list[WorkflowStepResultSchema]
    error: dict[str, str] | None = None
    usage: dict[str, int] | None = None


class WorkflowRunsQuery(BaseModel):
    workflow_key: str | None = None
    run_status: str | None = Field(
        None, description="running, succeeded, failed or cancelled; waiting runs are running."
    )
    started_before: str | None = Field(None, description="A time in ISO 8601, such as 2026-01-31T12:00:00Z, included.")
    started_after: str | None = Field(None, description="The same.")
    conversation_id: str | None = None
    cursor: str | None = None
    limit: int = Field(20, ge=1, le=100)


class StreamingWorkflowEvent(StreamingEvent):
    workflow_key: str
    workflow_run_id: str | None = None
    server_timestamp: str | None = None
    step_name: str | None = None
    step_agent: str | None = None
    stage_name: str | None = None
    parallel_group: str | None = None
    branch_index: int | None = None
    conversation_id: str | None = None
    response_text: str | None = None
    attachments: list[dict[str, Any]] | None = None
