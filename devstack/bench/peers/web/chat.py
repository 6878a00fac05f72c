# mypy: ignore-errors
"""An agent that runs inside the request: reads the history, streams the model's output, and stores the answer."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import APIRouter, HTTPException
from fastapi.responses import StreamingResponse
from openai import AsyncOpenAI
from pydantic import BaseModel, Field
from sqlalchemy import select

from devstack.bench.peers.web.auth import Caller, need
from devstack.bench.peers.web.database import Conversation, Message, now, writing
from devstack.bench.peers.web.settings import HISTORY_MESSAGES, MODEL

router = APIRouter()
model = AsyncOpenAI(max_retries=2, timeout=60)
AGENT, PREVIEW, TURNS = "triage", 160, 10
INSTRUCTIONS = (
    "You are the front desk of an assistant service. Answer briefly and so that the user can act on it. "
    "Say so when you do not know."
)
TOOLS = [
    {
        "type": "function",
        "name": "get_current_time",
        "description": "The current time in UTC.",
        "parameters": {"type": "object", "properties": {}, "required": [], "additionalProperties": False},
        "strict": True,
    }
]


class Ask(BaseModel):
    message: str = Field(min_length=1)
    conversation_id: str | None = None


@router.post("/api/v1/chat/stream")
async def chat(ask: Ask, caller: Annotated[Caller, need("conversations:write")]) -> StreamingResponse:
    conversation_id, history = await begin(ask, caller)
    headers = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}
    return StreamingResponse(answer(conversation_id, history), media_type="text/event-stream", headers=headers)


async def begin(ask: Ask, caller: Caller) -> tuple[UUID, list[dict[str, Any]]]:
    """Store the user's message in one transaction. Return the conversation id and the history for the model."""
    async with writing.begin() as db:
        row = None
        if ask.conversation_id:
            mine = (Conversation.tenant_id == caller.tenant_id) & (Conversation.user_id == caller.user_id)
            row = await db.scalar(
                select(Conversation).where(mine, Conversation.key == ask.conversation_id).with_for_update()
            )
            if row is None:
                raise HTTPException(404, "Conversation not found.")
        else:
            row = Conversation(
                key=str(uuid4()),
                tenant_id=caller.tenant_id,
                user_id=caller.user_id,
                entry_agent=AGENT,
                message_count=0,
                id=uuid4(),
            )
            db.add(row)
        await say(db, row, "user", ask.message)
        newest = (
            select(Message.role, Message.content)
            .where(Message.conversation_id == row.id)
            .order_by(Message.position.desc())
            .limit(HISTORY_MESSAGES)
        )
        history = [{"role": role, "content": content} for role, content in (await db.execute(newest)).all()]
    return row.id, history[::-1]


async def say(db: Any, row: Conversation, role: str, text: str) -> None:
    """Add a message to a conversation."""
    row.message_count += 1
    row.last_message, row.last_message_at, row.updated_at = text[:PREVIEW], now(), now()
    await db.flush()
    agent = AGENT if role == "assistant" else None
    db.add(
        Message(
            conversation_id=row.id, position=row.message_count - 1, role=role, agent=agent, content=text, id=uuid4()
        )
    )
    await db.flush()


async def answer(conversation_id: UUID, history: list[dict[str, Any]]) -> AsyncIterator[bytes]:
    """Call the model until it gives an answer. No database connection is held during the calls."""
    items, text = list(history), ""
    for _ in range(TURNS):
        response = None
        stream = await model.responses.create(
            model=MODEL, instructions=INSTRUCTIONS, input=items, tools=TOOLS, store=False, stream=True
        )
        async for event in stream:
            if event.type == "response.output_text.delta":
                yield frame(text_delta=event.delta, is_terminal=False)
            elif event.type == "response.completed":
                response = event.response
        if response is None:
            yield frame(kind="error", is_terminal=True)
            return
        text = response.output_text
        calls = [item for item in response.output if item.type == "function_call"]
        if not calls:
            break
        items += [item.model_dump(exclude_none=True) for item in response.output]
        items += [{"type": "function_call_output", "call_id": call.call_id, "output": use(call.name)} for call in calls]
    async with writing.begin() as db:
        row = await db.scalar(select(Conversation).where(Conversation.id == conversation_id).with_for_update())
        row.active_agent = AGENT
        await say(db, row, "assistant", text)
    yield frame(response_text=text, is_terminal=True)


def use(tool: str) -> str:
    if tool == "get_current_time":
        return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"Error: there is no tool named {tool}."


def frame(**event: Any) -> bytes:
    return b"data: " + json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"
