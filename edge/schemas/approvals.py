"""Approvals: calls of tools about which a person decides."""

import json
from typing import Any, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

Reason = Literal["tool", "mcp", "cut"]
State = Literal["pending", "approved", "denied", "expired", "cancelled"]
REASON_CHARACTERS = 2000
ARGUMENTS_CHARACTERS = 100_000  # of JSON


class ApprovalDecision(BaseModel):
    decision: Literal["approve", "deny"]
    digest: str = Field(min_length=64, max_length=64, description="Of the approval, as it was shown to the person.")
    reason: str | None = Field(
        None, max_length=REASON_CHARACTERS, description="If the call is denied, the model reads it."
    )
    arguments: dict[str, Any] | None = Field(None, description="Those to use instead of the model's.")

    @field_validator("arguments")
    @classmethod
    def _arguments(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if value is not None and len(json.dumps(value)) > ARGUMENTS_CHARACTERS:
            raise ValueError(f"may have {ARGUMENTS_CHARACTERS} characters of JSON at most")
        return value

    @model_validator(mode="after")
    def _only_approved_calls_have_arguments(self) -> "ApprovalDecision":
        if self.decision == "deny" and self.arguments is not None:
            raise ValueError("a call that is denied has no arguments")
        return self


class ApprovalResponse(BaseModel):
    id: str
    run_id: str
    call_id: str
    tool_name: str
    arguments: dict[str, Any]
    parameters: dict[str, Any] | None = Field(
        None, description="The JSON schema of the arguments; null if nobody can change them."
    )
    digest: str
    reason: Reason = Field(
        description="Why somebody is asked: the tool or a rule of the tenant (tool), an MCP server (mcp), or the call was cut (cut)."
    )
    needs_admin: bool = Field(description="Whether only an admin decides who did not start the run.")
    state: State
    created_at: str
    expires_at: str
    decided_by: str | None = None
    decided_at: str | None = None
    note: str | None = Field(None, description="The reason that the person gave.")
    edited_arguments: dict[str, Any] | None = Field(None, description="Those that the person wants instead.")


class ApprovalListResponse(BaseModel):
    items: list[ApprovalResponse]
    next_cursor: str | None = None


class ApprovalQuery(BaseModel):
    limit: int = Field(50, ge=1, le=100)
    cursor: str | None = None
