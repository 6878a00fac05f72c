"""What the agent loop and those who decide about its calls say to each other.

A call that needs a person's approval ends the attempt with `WaitsForApproval`. The decision comes with the next attempt.
"""

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from workers.agents.declarations import Tool

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """`number` and `scope`: of the call's step in the journal. `reason`: its tool asks always or for these arguments (tool),
    a hosted MCP server asks (mcp), or the call was cut in the middle and may not be made twice (cut)."""

    number: int
    call_id: str
    tool_name: str
    arguments: dict[str, Any]
    reason: Literal["tool", "mcp", "cut"] = "tool"
    scope: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """`arguments`: those to use instead of the model's, if a person has edited them. `reason`: told to the model.

    `decided_at`: by the clock of the database. A decision from before a call began does not say what to do with that call
    once it was cut: it is asked about again, and the newest decision about a step counts.
    """

    verdict: Literal["approved", "denied", "expired"]
    arguments: dict[str, Any] | None = None
    reason: str | None = None
    decided_at: datetime | None = None


Decisions = dict[tuple[str, int], Decision]  # by scope and number of the call's step


class WaitsForApproval(Exception):
    """All that can be done without these decisions is done, and is in the journal."""

    def __init__(self, requests: list[ApprovalRequest]) -> None:
        super().__init__(f"{len(requests)} calls wait for approval")
        self.requests = requests


def needed(tool: Tool, arguments: dict[str, Any]) -> bool:
    """Whether a person has to approve this call. A rule that fails does not let the call through."""
    if not callable(tool.approval):
        return tool.approval
    try:
        return bool(tool.approval(arguments))
    except Exception:
        log.exception("tool.approval_rule_failed", extra={"tool": tool.name})
        return True
