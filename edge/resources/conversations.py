"""Reading, renaming and deleting conversations."""

from typing import cast

import falcon

from edge import attachments
from edge.endpoint import endpoint
from edge.request import Request
from edge.schemas.common import MessageAttachment
from edge.schemas.conversations import (
    ChatMessage,
    ConversationEventItem,
    ConversationEventsResponse,
    ConversationHistory,
    ConversationListResponse,
    ConversationQuery,
    ConversationRename,
    ConversationSearchResponse,
    ConversationSearchResult,
    ConversationSummary,
    EventsQuery,
    HistoryQuery,
    Role,
    SearchQuery,
)
from models.conversations import history
from models.conversations.conversation import Conversation, ListedConversation, Message, RunEvent
from models.conversations.search import SearchHit, search
from models.platform import limits
from models.platform.authorization import CONVERSATION_DELETE, CONVERSATION_READ, CONVERSATION_RENAME
from models.platform.clock import iso
from models.platform.database import transaction
from models.platform.settings import settings
from workers.jobs import STORAGE_SWEEP, enqueue


class Conversations:
    @endpoint("List Conversations", "conversations", action=CONVERSATION_READ, tenant=True)
    def on_get(self, req: Request, resp: falcon.Response, query: ConversationQuery) -> ConversationListResponse:
        """Conversations, the last updated first: one's own, for admins all of the tenant's."""
        page = Conversation.page(req.context.principal, query.limit, query.cursor, query.agent)
        return ConversationListResponse(items=[summary(row) for row in page.items], next_cursor=page.next_cursor)

    @endpoint("Search Conversations", "conversations", action=CONVERSATION_READ, tenant=True)
    def on_get_search(self, req: Request, resp: falcon.Response, query: SearchQuery) -> ConversationSearchResponse:
        """Conversations in which a message or the title has all words of `q`, the best match first."""
        principal = req.context.principal
        per_minute = settings.conversation_search_rate_limit_per_minute
        limits.hit("conversation_search_per_minute", per_minute, 60, principal.tenant_id, principal.subject)
        if not query.q:
            return ConversationSearchResponse(items=[])
        page = search(principal, query.q, query.limit, query.cursor, query.agent)
        return ConversationSearchResponse(items=[found(hit) for hit in page.items], next_cursor=page.next_cursor)

    @endpoint("Get Conversation", "conversations", action=CONVERSATION_READ, tenant=True)
    def on_get_one(
        self, req: Request, resp: falcon.Response, conversation_id: str, query: HistoryQuery
    ) -> ConversationHistory:
        """A conversation with its newest messages, the oldest of them first. `next_cursor` leads to those before them."""
        conversation = Conversation.get_visible(req.context.principal, conversation_id)
        page = history.messages(conversation.id, query.limit, query.cursor)
        listed = [row.attachments for row in page.items]
        signed = attachments.signed(conversation.tenant_id, listed)
        return ConversationHistory(
            conversation_id=conversation.key,
            title=conversation.title,
            messages=[message(row, made) for row, made in zip(page.items, signed, strict=True)],
            created_at=iso(conversation.first_message_at),
            updated_at=iso(conversation.last_message_at),
            agent_context={"entry_agent": conversation.entry_agent, "active_agent": conversation.active_agent},
            next_cursor=page.next_cursor,
        )

    @endpoint("Rename Conversation", "conversations", action=CONVERSATION_RENAME, tenant=True)
    def on_patch_one(
        self, req: Request, resp: falcon.Response, conversation_id: str, body: ConversationRename
    ) -> ConversationSummary:
        """Give a conversation another title. Its place in lists stays."""
        return summary(Conversation.rename(req.context.principal, conversation_id, body.title))

    @endpoint("Delete Conversation", "conversations", action=CONVERSATION_DELETE, status=204, tenant=True)
    def on_delete_one(self, req: Request, resp: falcon.Response, conversation_id: str) -> None:
        """Delete a conversation with its messages, events, runs and stored objects. An active run is cancelled."""
        principal = req.context.principal
        if Conversation.remove(principal, conversation_id, client=req.context.client):
            with transaction():  # if we die before this, it is done by the clock
                enqueue(STORAGE_SWEEP, tenant_id=principal.tenant_id)

    @endpoint("Get Conversation Events", "conversations", action=CONVERSATION_READ, tenant=True)
    def on_get_events(
        self, req: Request, resp: falcon.Response, conversation_id: str, query: EventsQuery
    ) -> ConversationEventsResponse:
        """What happened behind the answers: calls of tools with their results, and reasoning."""
        conversation = Conversation.get_visible(req.context.principal, conversation_id)
        page = history.events(conversation.id, query.limit, query.cursor, workflow_run_id=query.workflow_run_id)
        return ConversationEventsResponse(
            conversation_id=conversation.key, items=[event(row) for row in page.items], next_cursor=page.next_cursor
        )


def summary(row: ListedConversation | Conversation) -> ConversationSummary:
    return ConversationSummary(
        conversation_id=row.key,
        title=row.title,
        message_count=row.message_count,
        last_message=row.last_message,
        created_at=iso(row.first_message_at),
        updated_at=iso(row.last_message_at),
    )


def found(hit: SearchHit) -> ConversationSearchResult:
    return ConversationSearchResult(
        conversation_id=hit.key,
        title=hit.title,
        preview=hit.preview,
        score=hit.score,
        updated_at=iso(hit.last_message_at),
    )


def message(row: Message, attached: list[MessageAttachment]) -> ChatMessage:
    return ChatMessage(
        role=cast(Role, row.role),
        content=row.content,
        timestamp=iso(row.created_at),
        attachments=attached,
        annotations=row.annotations,
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
