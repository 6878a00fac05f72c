"""What the agent loop and those who decide about its calls say to each other.

A call that needs a person's approval ends the attempt with `WaitsForApproval`. The decision comes with the next attempt.
"""

import logging
from collections.abc import Container
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from models.platform.json import storable_value
from models.runs.approvals import Approval, ApprovalRequest, Verdict, digest_of
from workers.agents.declarations import Tool

__all__ = ["ApprovalRequest", "Decision", "Decisions", "WaitsForApproval", "decisions", "needed"]
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Decision:
    """`arguments`: those to use instead of the model's, if a person has edited them. `reason`: told to the model.

    `decided_at`: by the clock of the database. A decision from before a call began does not say what to do with that call
    once it was cut: it is asked about again, and the newest decision about a step counts.
    `approval` and `digest`: of the question that was decided. None: it is about whatever call has its number.
    """

    verdict: Verdict
    arguments: dict[str, Any] | None = None
    reason: str | None = None
    decided_at: datetime | None = None
    approval: UUID | None = None
    digest: str | None = None

    def is_about(self, tool: str, arguments: dict[str, Any]) -> bool:
        """Whether the person has seen this call. If its journal is gone, the model may have made another one instead."""
        if self.approval is None:
            return True
        return digest_of(self.approval, tool, storable_value(arguments)) == self.digest


Decisions = dict[tuple[str, int], Decision]  # by scope and number of the call's step


class WaitsForApproval(Exception):
    """All that can be done without these decisions is done, and is in the journal."""

    is_failure = False  # for the spans that it leaves

    def __init__(self, requests: list[ApprovalRequest]) -> None:
        super().__init__(f"{len(requests)} calls wait for approval")
        self.requests = requests


def decisions(run_id: UUID) -> Decisions:
    """What people have decided about the calls of a run so far."""
    newest = Approval.newest_decisions(run_id)
    return {
        step: Decision(
            cast(Verdict, approval.state),
            approval.edited,
            approval.note,
            approval.decided_at,
            approval.id,
            approval.digest,
        )
        for step, approval in newest.items()
    }


def needed(tool: Tool, arguments: dict[str, Any], ruled: Container[str]) -> bool:
    """Whether a person has to approve this call. `ruled`: the tools about which the tenant has a rule.

    A rule of the tool that fails does not let the call through.
    """
    if tool.name in ruled:
        return True
    if not callable(tool.approval):
        return tool.approval
    try:
        return bool(tool.approval(arguments))
    except Exception:
        log.exception("tool.approval_rule_failed", extra={"tool": tool.name})
        return True
