"""Looking at, following and cancelling runs."""

import falcon

from edge import relay
from edge.auth import allow
from edge.errors import Invalid
from edge.openapi import describes
from edge.schemas.chat import StreamingChatEvent
from edge.schemas.runs import RunResponse, RunStreamQuery
from edge.validation import query
from models.jobs.ledger import Job
from models.platform.clock import iso
from models.runs.run import Run


def show(run: Run) -> dict:
    asked = not run.is_finished and Job.select().where((Job.run_id == run.id) & Job.cancel_requested).exists()
    return {
        "run_id": str(run.id),
        "kind": run.kind,
        "state": run.state,
        "conversation_id": run.conversation_key,
        "agent": run.agent,
        "cancel_requested": asked or run.state == "cancelled",
        "error": {"code": run.error_code, "message": run.error_message} if run.error_code else None,
        "usage": run.usage,
        "created_at": iso(run.created_at),
        "started_at": iso(run.started_at) if run.started_at else None,
        "finished_at": iso(run.finished_at) if run.finished_at else None,
    }


class Runs:
    @describes("Get Run", "runs", answers={200: RunResponse}, tenant=True)
    @allow(scope="conversations:read")
    def on_get(self, req: falcon.Request, resp: falcon.Response, run_id: str) -> None:
        resp.media = show(Run.find(req.context.principal, run_id))

    @describes(
        "Follow Run",
        "runs",
        query=RunStreamQuery,
        answers={200: StreamingChatEvent},
        tenant=True,
        headers=("Last-Event-ID",),
        streams=True,
    )
    @allow(scope="conversations:read")
    def on_get_stream(self, req: falcon.Request, resp: falcon.Response, run_id: str) -> None:
        me, after = req.context.principal, cursor(req)
        run = Run.find(me, run_id)
        with relay.slot(me) as slot:
            relay.follow(resp, run, me, after=after, slot=slot)

    @describes("Cancel Run", "runs", answers={202: RunResponse}, tenant=True)
    @allow(scope="conversations:write")
    def on_post_cancel(self, req: falcon.Request, resp: falcon.Response, run_id: str) -> None:
        run = Run.cancel(req.context.principal, run_id)
        resp.status = falcon.HTTP_202
        resp.media = show(run)


def cursor(req: falcon.Request) -> int:
    """The last sequence number that the client has: `after`, else Last-Event-ID, else 0."""
    after = query(req, RunStreamQuery).after
    if after is not None:
        return after
    text = req.get_header("Last-Event-ID") or "0"
    if not (text.isascii() and text.isdigit() and len(text) <= 16):
        raise Invalid([{"loc": ["header", "Last-Event-ID"], "msg": "must be a sequence number", "type": "int_parsing"}])
    return int(text)
