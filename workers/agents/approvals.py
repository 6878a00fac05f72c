"""What the agent loop and those who decide about its calls say to each other.

A call that needs a person's approval ends the attempt with `WaitsForApproval`. The decision comes with the next attempt.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from models.runs.approvals import Approval, ApprovalRequest, Verdict

__all__ = ["ApprovalRequest", "Decision", "WaitsForApproval", "decisions"]


@dataclass(frozen=True, slots=True)
class Decision:
    """`arguments`: those to use instead of the model's, if a person has edited them. `reason`: told to the model.

    `decided_at`: an attempt at the call that began later is not covered: if it was cut, somebody has to be asked again.
    """

    verdict: Verdict
    arguments: dict[str, Any] | None = None
    reason: str | None = None
    decided_at: datetime | None = None


class WaitsForApproval(Exception):
    """All that can be done without these decisions is done, and is in the journal."""

    def __init__(self, requests: list[ApprovalRequest]) -> None:
        super().__init__(f"{len(requests)} calls wait for approval")
        self.requests = requests


def decisions(run_id: UUID, scope: str = "") -> dict[int, Decision]:
    """What was decided about the calls of this scope of a run, by the number of their step."""
    newest = Approval.newest_decisions(run_id, scope)
    return {
        number: Decision(cast(Verdict, approval.state), approval.edited, approval.note, approval.decided_at)
        for number, approval in newest.items()
    }
