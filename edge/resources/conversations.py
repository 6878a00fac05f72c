"""Reading and deleting conversations."""

from typing import cast

import falcon

from edge.endpoint import endpoint
from edge.request import Request
from edge.schemas.conversations import (
    ChatMessage,
    ConversationEventItem,
    ConversationEventsResponse,
    ConversationHistory,
    ConversationListResponse,
    ConversationQuery,
    ConversationRename,
    ConversationSummary,
    EventsQuery,
    Role,
)
from models.conversations.conversation import Conversation, ListedConversation, Message, RunEvent
from models.platform.authorization import CONVERSATION_DELETE, CONVERSATION_READ, CONVERSATION_RENAME
from models.platform.clock import iso


class Conversations:
    @endpoint("List Conversations", "conversations", action=CONVERSATION_READ, tenant=True)
    def on_get(self, req: Request, resp: falcon.Response, query: ConversationQuery) -> ConversationListResponse:
        page = Conversation.page(req.context.principal, query.limit, query.cursor, query.agent)
        return ConversationListResponse(items=[summary(row) for row in page.items], next_cursor=page.next_cursor)

    @endpoint("Get Conversation", "conversations", action=CONVERSATION_READ, tenant=True)
    def on_get_one(self, req: Request, resp: falcon.Response, conversation_id: str) -> ConversationHistory:
        conversation = Conversation.get_visible(req.context.principal, conversation_id)
        return ConversationHistory(
            conversation_id=conversation.key,
            title=conversation.title,
            messages=[message(row) for row in conversation.messages_in_order()],
            created_at=iso(conversation.first_message_at),
            updated_at=iso(conversation.last_message_at),
            agent_context={"entry_agent": conversation.entry_agent, "active_agent": conversation.active_agent},
        )

    @endpoint("Rename Conversation", "conversations", action=CONVERSATION_RENAME, tenant=True)
    def on_patch_one(
        self, req: Request, resp: falcon.Response, conversation_id: str, body: ConversationRename
    ) -> ConversationSummary:
        return summary(Conversation.rename(req.context.principal, conversation_id, body.title))

    @endpoint("Delete Conversation", "conversations", action=CONVERSATION_DELETE, status=204, tenant=True)
    def on_delete_one(self, req: Request, resp: falcon.Response, conversation_id: str) -> None:
        Conversation.remove(req.context.principal, conversation_id, client=req.context.client)

    @endpoint("Get Conversation Events", "conversations", action=CONVERSATION_READ, tenant=True)
    def on_get_events(
        self, req: Request, resp: falcon.Response, conversation_id: str, query: EventsQuery
    ) -> ConversationEventsResponse:
        conversation = Conversation.get_visible(req.context.principal, conversation_id)
        events = conversation.events_in_order(query.workflow_run_id)
        return ConversationEventsResponse(conversation_id=conversation.key, items=[event(row) for row in events])


def summary(row: ListedConversation | Conversation) -> ConversationSummary:
    return ConversationSummary(
        conversation_id=row.key,
        title=row.title,
        message_count=row.message_count,
        last_message=row.last_message,
        created_at=iso(row.first_message_at),
        updated_at=iso(row.last_message_at),
    )


def message(row: Message) -> ChatMessage:
    return ChatMessage(
        role=cast(Role, row.role), content=row.content, timestamp=iso(row.created_at), attachments=row.attachments
    )


def event(row: RunEvent) -> ConversationEventItem:
    return ConversationEventItem(
        sequence_no=row.sequence,
        run_item_type=row.type,
        run_item_name=row.name,
        role=cast("Role | None", row.role),
        agent=row.agent,
        tool_call_id=row.tool_call_id,
        tool_name=row.tool_name,
        model=row.model,
        content_text=row.content_text,
        reasoning_text=row.reasoning_text,
        call_arguments=row.call_arguments,
        call_output=row.call_output,
        response_id=row.response_id,
        workflow_run_id=row.workflow_run_id,
        timestamp=iso(row.created_at),
    )
