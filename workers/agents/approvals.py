"""What the agent loop and those who decide about its calls say to each other.

A call that needs a person's approval ends the attempt with `WaitsForApproval`. The decision comes with the next attempt.
"""

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """`number`: of the call's step in the journal. `reason`: its tool asks always or for these arguments (tool), a hosted
    MCP server asks (mcp), or the call was cut in the middle and may not be made twice (cut)."""

    number: int
    call_id: str
    tool_name: str
    arguments: dict[str, Any]
    reason: Literal["tool", "mcp", "cut"] = "tool"


@dataclass(frozen=True, slots=True)
class Decision:
    """`arguments`: those to use instead of the model's, if a person has edited them. `reason`: told to the model."""

    verdict: Literal["approved", "denied", "expired"]
    arguments: dict[str, Any] | None = None
    reason: str | None = None


class WaitsForApproval(Exception):
    """All that can be done without these decisions is done, and is in the journal."""

    def __init__(self, requests: list[ApprovalRequest]) -> None:
        super().__init__(f"{len(requests)} calls wait for approval")
        self.requests = requests
