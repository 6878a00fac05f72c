"""Conversations, their messages and events."""

from typing import Any, Literal

from pydantic import BaseModel, Field, field_validator

from edge.schemas.chat import ANNOTATIONS
from edge.schemas.common import MessageAttachment
from models.conversations.history import LONGEST as LONGEST_PAGE
from models.conversations.titles import LONGEST

Role = Literal["user", "assistant", "system"]
LONGEST_QUERY = 1000  # characters
AGENT = "Only conversations whose last question was for this agent or workflow."


class ConversationQuery(BaseModel):
    limit: int = Field(50, ge=1, le=100)
    cursor: str | None = None
    agent: str | None = Field(None, description=AGENT)


class SearchQuery(BaseModel):
    q: str = Field(min_length=1, description="Words that a message or the title must have, all of them.")
    limit: int = Field(20, ge=1, le=50)
    cursor: str | None = None
    agent: str | None = Field(None, description=AGENT)

    @field_validator("q")
    @classmethod
    def _q(cls, value: str) -> str:
        if len(value) > LONGEST_QUERY:
            raise ValueError(f"may have {LONGEST_QUERY} characters at most")
        return value.strip()


class HistoryQuery(BaseModel):
    limit: int = Field(LONGEST_PAGE, ge=1, le=LONGEST_PAGE)
    cursor: str | None = Field(None, description="The `next_cursor` of an answer, to get what comes before it in time.")


class EventsQuery(HistoryQuery):
    workflow_run_id: str | None = Field(None, description="Only the events of this run of a workflow.")


class ConversationRename(BaseModel):
    """The title gets one line: any white space in it becomes a space."""

    title: str

    @field_validator("title")
    @classmethod
    def _title(cls, value: str) -> str:
        title = " ".join(value.split())
        if not 1 <= len(title) <= LONGEST:
            raise ValueError(f"must have 1 to {LONGEST} characters")
        return title


class ConversationSummary(BaseModel):
    conversation_id: str
    title: str | None = None
    message_count: int
    last_message: str
    created_at: str
    updated_at: str


class ConversationListResponse(BaseModel):
    items: list[ConversationSummary]
    next_cursor: str | None = None


class ConversationSearchResult(BaseModel):
    conversation_id: str
    title: str | None = None
    preview: str
    score: float | None = None
    updated_at: str | None = None


class ConversationSearchResponse(BaseModel):
    items: list[ConversationSearchResult]
    next_cursor: str | None = None


class ChatMessage(BaseModel):
    role: Role
    content: str
    timestamp: str | None = None
    attachments: list[MessageAttachment] = Field(default_factory=list)
    annotations: list[dict[str, Any]] = Field(default_factory=list, description=ANNOTATIONS)


class ConversationHistory(BaseModel):
    conversation_id: str
    title: str | None = None
    messages: list[ChatMessage]
    created_at: str
    updated_at: str
    agent_context: dict[str, Any] | None = None
    next_cursor: str | None = None


class ConversationEventItem(BaseModel):
    sequence_no: int
    run_item_type: str
    run_item_name: str | None = None
    role: Role | None = None
    agent: str | None = None
    tool_call_id: str | None = None
    tool_name: str | None = None
    model: str | None = None
    content_text: str | None = None
    reasoning_text: str | None = None
    call_arguments: dict[str, Any] | None = None
    call_output: dict[str, Any] | None = None
    attachments: list[MessageAttachment] = Field(default_factory=list)
    response_id: str | None = None
    workflow_run_id: str | None = None
    timestamp: str


class ConversationEventsResponse(BaseModel):
    conversation_id: str
    items: list[ConversationEventItem]
    next_cursor: str | None = None
