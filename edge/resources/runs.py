"""Reading, following and cancelling runs."""

from typing import cast

import falcon

from edge import relay
from edge.endpoint import endpoint
from edge.errors import Invalid
from edge.request import Request
from edge.resources import approvals
from edge.schemas.chat import StreamingChatEvent
from edge.schemas.runs import RunError, RunResponse, RunState, RunStreamQuery
from models.platform.authorization import RUN_CANCEL, RUN_READ
from models.platform.clock import iso, iso_or_none
from models.runs.approvals import Approval
from models.runs.run import WAITING, Run

LONGEST_CURSOR = 16  # digits


class Runs:
    @endpoint("Get Run", "runs", action=RUN_READ, tenant=True)
    def on_get(self, req: Request, resp: falcon.Response, run_id: str) -> RunResponse:
        """How a run is: its state, its usage, why it failed, and the approvals that it waits for."""
        return show(Run.find(req.context.principal, run_id))

    @endpoint(
        "Follow Run", "runs", action=RUN_READ, tenant=True, headers=("Last-Event-ID",), streams=StreamingChatEvent
    )
    def on_get_stream(self, req: Request, resp: falcon.Response, run_id: str, query: RunStreamQuery) -> None:
        """The events of a run, from any point on: what is missed is sent again, and then what happens.

        A stream that ended without a terminal event waits for an approval.
        """
        principal, after = req.context.principal, cursor(req, query) or 0
        run = Run.find(principal, run_id)
        with relay.slot(principal) as slot:
            relay.follow(resp, run, principal, after=after, slot=slot)

    @endpoint("Cancel Run", "runs", action=RUN_CANCEL, status=202, tenant=True)
    def on_post_cancel(self, req: Request, resp: falcon.Response, run_id: str) -> RunResponse:
        """Stop a run: a queued or waiting one at once, a running one within a second or two. A finished one stays as it is."""
        return show(Run.cancel(req.context.principal, run_id))


def show(run: Run) -> RunResponse:
    return RunResponse(
        run_id=str(run.id),
        kind=run.kind,
        state=cast(RunState, run.state),
        conversation_id=run.conversation_key,
        agent=run.agent,
        cancel_requested=run.cancel_requested,
        approvals=[approvals.show(one) for one in Approval.of_run(run.id, only_open=True)]
        if run.state == WAITING
        else [],
        error=RunError(code=run.error_code, message=run.error_message or "") if run.error_code else None,
        usage=run.usage,
        created_at=iso(run.created_at),
        started_at=iso_or_none(run.started_at),
        finished_at=iso_or_none(run.finished_at),
    )


def cursor(req: Request, query: RunStreamQuery) -> int | None:
    """The number of the last event that the client has: `after`, otherwise Last-Event-ID. None without either. Invalid (422)."""
    text = req.get_header("Last-Event-ID")
    if query.after is not None or not text:
        return query.after
    if not (text.isascii() and text.isdigit() and len(text) <= LONGEST_CURSOR):
        raise Invalid.at("header", "Last-Event-ID", msg="must be a sequence number", code="int_parsing")
    return int(text)
