"""Reading and deleting conversations."""

import falcon

from edge.auth import allow
from edge.openapi import describes
from edge.schemas.conversations import (
    ConversationEventsResponse,
    ConversationHistory,
    ConversationListResponse,
    ConversationQuery,
    EventsQuery,
)
from edge.validation import query
from models.conversations import Conversation, Message, RunEvent
from models.platform.clock import iso


class Conversations:
    @describes(
        "List Conversations",
        "conversations",
        query=ConversationQuery,
        answers={200: ConversationListResponse},
        tenant=True,
    )
    @allow(scope="conversations:read")
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        ask = query(req, ConversationQuery)
        rows, cursor = Conversation.page(req.context.principal, ask.limit, ask.cursor, ask.agent)
        resp.media = {"items": [summary(row) for row in rows], "next_cursor": cursor}

    @describes("Get Conversation", "conversations", answers={200: ConversationHistory}, tenant=True)
    @allow(scope="conversations:read")
    def on_get_one(self, req: falcon.Request, resp: falcon.Response, conversation_id: str) -> None:
        conversation = Conversation.get_visible(req.context.principal, conversation_id)
        resp.media = {
            "conversation_id": conversation.key,
            "messages": [message(row) for row in conversation.messages_in_order()],
            "created_at": iso(conversation.first_message_at),
            "updated_at": iso(conversation.last_message_at),
            "agent_context": {"entry_agent": conversation.entry_agent, "active_agent": conversation.active_agent},
        }

    @describes("Delete Conversation", "conversations", answers={204: None}, tenant=True)
    @allow(role="admin", scope="conversations:delete")
    def on_delete_one(self, req: falcon.Request, resp: falcon.Response, conversation_id: str) -> None:
        Conversation.remove(req.context.principal, conversation_id)
        resp.status = falcon.HTTP_204

    @describes(
        "Get Conversation Events",
        "conversations",
        query=EventsQuery,
        answers={200: ConversationEventsResponse},
        tenant=True,
    )
    @allow(scope="conversations:read")
    def on_get_events(self, req: falcon.Request, resp: falcon.Response, conversation_id: str) -> None:
        ask = query(req, EventsQuery)
        conversation = Conversation.get_visible(req.context.principal, conversation_id)
        resp.media = {
            "conversation_id": conversation.key,
            "items": [event(row) for row in conversation.events_in_order(ask.workflow_run_id)],
        }


def summary(row: Conversation) -> dict:
    return {
        "conversation_id": row.key,
        "message_count": row.message_count,
        "last_message": row.last_message,
        "created_at": iso(row.first_message_at),
        "updated_at": iso(row.last_message_at),
    }


def message(row: Message) -> dict:
    return {"role": row.role, "content": row.content, "timestamp": iso(row.created_at), "attachments": row.attachments}


def event(row: RunEvent) -> dict:
    return {
        "sequence_no": row.sequence,
        "run_item_type": row.type,
        "run_item_name": row.name,
        "role": row.role,
        "agent": row.agent,
        "tool_call_id": row.tool_call_id,
        "tool_name": row.tool_name,
        "model": row.model,
        "content_text": row.content_text,
        "reasoning_text": row.reasoning_text,
        "call_arguments": row.call_arguments,
        "call_output": row.call_output,
        "attachments": [],
        "response_id": row.response_id,
        "workflow_run_id": row.workflow_run_id,
        "timestamp": iso(row.created_at),
    }
