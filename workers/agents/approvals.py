"""What the agent loop and those who decide about its calls say to each other.

A call that needs a person's approval ends the attempt with `WaitsForApproval`. The decision comes with the next attempt.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from models.runs.approvals import Approval, ApprovalRequest, Verdict

__all__ = ["ApprovalRequest", "Decision", "Decisions", "WaitsForApproval", "decisions"]


@dataclass(frozen=True, slots=True)
class Decision:
    """`arguments`: those to use instead of the model's, if a person has edited them. `reason`: told to the model.

    `decided_at`: by the clock of the database. A decision from before a call began does not say what to do with that call
    once it was cut: it is asked about again, and the newest decision about a step counts.
    """

    verdict: Verdict
    arguments: dict[str, Any] | None = None
    reason: str | None = None
    decided_at: datetime | None = None


Decisions = dict[tuple[str, int], Decision]  # by scope and number of the call's step


class WaitsForApproval(Exception):
    """All that can be done without these decisions is done, and is in the journal."""

    def __init__(self, requests: list[ApprovalRequest]) -> None:
        super().__init__(f"{len(requests)} calls wait for approval")
        self.requests = requests


def decisions(run_id: UUID) -> Decisions:
    """What people have decided about the calls of a run so far."""
    newest = Approval.newest_decisions(run_id)
    return {
        step: Decision(cast(Verdict, approval.state), approval.edited, approval.note, approval.decided_at)
        for step, approval in newest.items()
    }
