"""Reading approvals, and deciding about them."""

from typing import Literal, cast

import falcon

from edge.edited_arguments import require_fit
from edge.endpoint import endpoint
from edge.request import Request
from edge.schemas.approvals import (
    ApprovalDecision,
    ApprovalListResponse,
    ApprovalQuery,
    ApprovalResponse,
    Reason,
    State,
)
from models.platform.authorization import APPROVAL_DECIDE, RUN_READ
from models.platform.clock import iso, iso_or_none
from models.runs.approvals import Approval
from models.runs.run import Run
from models.runs.waiting import Answer
from workers import jobs

STATES: dict[str, Literal["approved", "denied"]] = {"approve": "approved", "deny": "denied"}


class Approvals:
    @endpoint("List Open Approvals", "runs", action=APPROVAL_DECIDE, tenant=True)
    def on_get(self, req: Request, resp: falcon.Response, query: ApprovalQuery) -> ApprovalListResponse:
        """The calls that the caller may decide about, the newest first."""
        page = Approval.page(req.context.principal, query.limit, query.cursor)
        return ApprovalListResponse(items=[show(approval) for approval in page.items], next_cursor=page.next_cursor)

    @endpoint("List Approvals Of Run", "runs", action=RUN_READ, tenant=True)
    def on_get_run(self, req: Request, resp: falcon.Response, run_id: str) -> list[ApprovalResponse]:
        """All approvals of a run, decided ones too, the oldest first."""
        run = Run.find(req.context.principal, run_id)
        return [show(approval) for approval in Approval.of_run(run.id)]

    @endpoint("Decide About Call", "runs", action=APPROVAL_DECIDE, tenant=True)
    def on_post_call(
        self, req: Request, resp: falcon.Response, run_id: str, call_id: str, body: ApprovalDecision
    ) -> ApprovalResponse:
        """Approve or deny a call of a tool. The run goes on when all of its calls are decided.

        Of several decisions one counts: the same one again is answered in the same way, another one with 409
        `approval_decided`.
        """
        principal = req.context.principal
        approval = Approval.find(principal, run_id, call_id, body.digest)
        if body.arguments is not None:
            require_fit(approval.parameters, body.arguments)
        answer = Answer(STATES[body.decision], body.reason, body.arguments)
        return show(jobs.decide(principal, approval, answer, req.context.client))


def show(approval: Approval) -> ApprovalResponse:
    return ApprovalResponse(
        id=str(approval.id),
        run_id=str(approval.run_id),
        call_id=approval.call_id,
        tool_name=approval.tool_name,
        arguments=approval.arguments,
        parameters=approval.parameters,
        digest=approval.digest,
        reason=cast(Reason, approval.reason),
        needs_admin=approval.needs_admin,
        state=cast(State, approval.state),
        created_at=iso(approval.created_at),
        expires_at=iso(approval.expires_at),
        decided_by=str(approval.decided_by) if approval.decided_by else None,
        decided_at=iso_or_none(approval.decided_at),
        note=approval.note,
        edited_arguments=approval.edited,
    )
