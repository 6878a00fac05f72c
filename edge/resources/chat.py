"""Asking an agent: answered as one JSON object or as an event stream."""

from typing import Any

import falcon

from edge import attachments, relay
from edge.endpoint import endpoint
from edge.request import Request
from edge.run_answers import HEADERS, begin, idempotency_key, require_allowance, require_success
from edge.schemas.chat import AgentChatRequest, AgentChatResponse, StreamingChatEvent
from models.conversations.asking import Question
from models.platform.authorization import CONVERSATION_ASK
from models.platform.settings import settings
from models.runs.run import Run
from workers.agents.catalog import catalog
from workers.jobs import CHAT_RUN


class Chat:
    @endpoint("Chat With Agent", "chat", action=CONVERSATION_ASK, tenant=True, headers=HEADERS)
    def on_post(self, req: Request, resp: falcon.Response, body: AgentChatRequest) -> AgentChatResponse:
        """Ask an agent, and wait for its whole answer.

        409 `approval_required` if a call has to be approved first, 504 `run_still_running` if it takes too long: follow
        the run in both cases. A run goes on if its client disconnects.
        """
        principal = req.context.principal
        require_allowance(principal)
        run = start(req, resp, body)
        if not run.is_finished:
            relay.wait(run, principal, settings.chat_wait_seconds)
            run = Run.get_by_id(run.id)
        return answer(run)


class ChatStream:
    @endpoint(
        "Stream Chat With Agent",
        "chat",
        action=CONVERSATION_ASK,
        tenant=True,
        headers=HEADERS,
        streams=StreamingChatEvent,
    )
    def on_post(self, req: Request, resp: falcon.Response, body: AgentChatRequest) -> None:
        """Ask an agent, and read its answer while it is made, as server-sent events.

        The header `X-Run-Id` names the run, whose stream can be resumed. The last event has `is_terminal`.
        """
        principal = req.context.principal
        require_allowance(principal, streams=True)
        with relay.slot(principal) as slot:
            run = start(req, resp, body)
            relay.follow(resp, run, principal, frame=relay.chat_frame, slot=slot)


def start(req: Request, resp: falcon.Response, body: AgentChatRequest) -> Run:
    """The run of this question. A repeated Idempotency-Key gives the run that the first request started."""
    agent = catalog().get(body.agent_type)
    question = Question(
        body.message,
        agent.key,
        conversation_id=body.conversation_id,
        options=body.options(),
        idempotency_key=idempotency_key(req),
        attachments=tuple(body.attachments),
    )
    return begin(req, resp, question, CHAT_RUN)


def answer(run: Run) -> AgentChatResponse:
    """The answer of a finished run. RunFailed or RunCancelled if it has no result."""
    require_success(run)
    result = run.result or {}
    agent = catalog().agents.get(result["agent_used"])
    return AgentChatResponse(
        response=result["response"],
        structured_output=result["structured_output"],
        conversation_id=run.conversation_key,
        agent_used=result["agent_used"],
        handoff_occurred=result["handoff_occurred"],
        attachments=attachments.signed_alone(run.tenant_id, result["attachments"]),
        annotations=result.get("annotations") or [],
        metadata={
            "model_used": result["model"],
            "tools_available": [tool.name for tool in catalog().tools_of(agent)] if agent else [],
            "run_id": str(run.id),
            "usage": run.usage,
            "refusal": result["refusal"],
            **_made(result),
        },
    )


def _made(result: dict[str, Any]) -> dict[str, Any]:
    """What became of the images and files that the agents have made, if they have made any."""
    kept, failed = result["attachments"], result.get("attachments_failed") or []
    if not kept and not failed:
        return {}
    status = "stored" if not failed else "partly_stored" if kept else "failed"
    return {"attachments": {"status": status, "count": len(kept), **({"failed": failed} if failed else {})}}
