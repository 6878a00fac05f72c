"""Runs."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from edge.schemas.approvals import ApprovalResponse

RunState = Literal["queued", "running", "waiting", "succeeded", "failed", "cancelled"]


class RunError(BaseModel):
    code: str
    message: str


class RunResponse(BaseModel):
    run_id: str
    kind: str
    state: RunState
    conversation_id: str | None = None
    agent: str
    cancel_requested: bool = False
    approvals: list[ApprovalResponse] = Field(default_factory=list, description="Those that the run waits for.")
    error: RunError | None = None
    usage: dict[str, Any] | None = None
    created_at: str
    started_at: str | None = None
    finished_at: str | None = None


class RunStreamQuery(BaseModel):
    after: int | None = Field(
        None, ge=0, le=2**53 - 1, description="The sequence number of the last event that the client has. Default: all."
    )
