"""Asking an agent: as one answer, or as a stream."""

import falcon

from edge import relay
from edge.auth import allow
from edge.errors import Invalid
from edge.openapi import describes
from edge.schemas.chat import AgentChatRequest, AgentChatResponse, StreamingChatEvent
from edge.validation import body
from models.conversations import Conversation
from models.platform import limits
from models.platform.database import transaction
from models.platform.errors import Conflict, DomainError
from models.platform.settings import settings
from models.runs.run import Run
from workers.agents.catalog import CATALOG
from workers.jobs import CHAT_RUN, enqueue

HEADERS = ("Idempotency-Key",)
# What a failed run's code means in the answer of the waiting endpoint.
STATUS = {
    "provider_rate_limited": 429,
    "provider_timeout": 504,
    "run_timeout": 504,
    "context_length_exceeded": 422,
    "provider_bad_request": 502,
    "provider_authentication": 502,
    "provider_failed": 502,
    "provider_incomplete": 502,
    "provider_unavailable": 503,
    "max_turns_exceeded": 422,
    "no_output": 502,
}


class RunFailed(DomainError):
    def __init__(self, run: Run):
        super().__init__(run.error_message, details={"run_id": str(run.id)}, headers={"X-Run-Id": str(run.id)})
        self.code = run.error_code
        self.status = STATUS.get(self.code, 500)


class RunCancelled(Conflict):
    code, message = "run_cancelled", "The run was cancelled."


def idempotency_key(req: falcon.Request) -> str | None:
    key = req.get_header("Idempotency-Key")
    if key is not None and not (1 <= len(key) <= 255 and key.isascii() and key.isprintable()):
        raise Invalid(
            [
                {
                    "loc": ["header", "Idempotency-Key"],
                    "msg": "must have 1 to 255 printable ASCII characters",
                    "type": "value_error",
                }
            ]
        )
    return key


def start(req: falcon.Request, resp: falcon.Response, ask: AgentChatRequest) -> Run:
    """The run of this request, started now or by an earlier one with the same Idempotency-Key."""
    agent = CATALOG.get(ask.agent_type)
    with transaction():
        run, created = Conversation.ask(
            req.context.principal,
            message=ask.message,
            conversation_id=ask.conversation_id,
            agent=agent.key,
            options=ask.options(),
            idempotency_key=idempotency_key(req),
        )
        if created:
            enqueue(CHAT_RUN, run_id=run.id, tenant_id=run.tenant_id)
    resp.set_header("X-Run-Id", str(run.id))
    if not created:
        resp.set_header("Idempotent-Replayed", "true")
    return run


class Chat:
    @describes(
        "Chat With Agent", "chat", body=AgentChatRequest, answers={200: AgentChatResponse}, tenant=True, headers=HEADERS
    )
    @allow(scope="conversations:write")
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        me, ask = req.context.principal, body(req, AgentChatRequest)
        limits.hit("chat_per_minute", settings.chat_rate_limit_per_minute, 60, me.tenant_id, me.subject)
        run = start(req, resp, ask)
        if not run.is_finished:
            relay.wait(run, settings.chat_wait_seconds)
            run = Run.get_by_id(run.id)
        resp.media = answer(run)


def answer(run: Run) -> dict:
    if run.state == "cancelled":
        raise RunCancelled(details={"run_id": str(run.id)})
    if run.state == "failed":
        raise RunFailed(run)
    result, agent = run.result, CATALOG.agents.get(run.result["agent_used"])
    tools = [tool.name for tool in CATALOG.tools_of(agent)] if agent else []
    return {
        "response": result["response"],
        "structured_output": result["structured_output"],
        "conversation_id": run.conversation_key,
        "agent_used": result["agent_used"],
        "handoff_occurred": result["handoff_occurred"],
        "attachments": result["attachments"],
        "metadata": {
            "model_used": result["model"],
            "tools_available": tools,
            "run_id": str(run.id),
            "usage": run.usage,
            "refusal": result["refusal"],
        },
    }


class ChatStream:
    @describes(
        "Stream Chat With Agent",
        "chat",
        body=AgentChatRequest,
        answers={200: StreamingChatEvent},
        tenant=True,
        headers=HEADERS,
        streams=True,
    )
    @allow(scope="conversations:write")
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        me, ask = req.context.principal, body(req, AgentChatRequest)
        limits.hit("chat_stream_per_minute", settings.chat_stream_rate_limit_per_minute, 60, me.tenant_id, me.subject)
        with relay.slot(me) as slot:
            run = start(req, resp, ask)
            relay.follow(resp, run, me, frame=relay.chat_frame, slot=slot)
