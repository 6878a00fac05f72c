"""Conversations, their messages, and the run events behind the answers: reading and deleting them."""

from datetime import datetime
from typing import Any, NamedTuple, cast
from uuid import UUID

from peewee import SQL, CharField, ForeignKeyField, IntegerField, TextField, UUIDField, fn

from models.jobs.ledger import Job
from models.platform import audit
from models.platform.authorization import CONVERSATION_READ, CONVERSATION_RENAME, may
from models.platform.client_info import UNKNOWN_CLIENT, ClientInfo
from models.platform.clock import now
from models.platform.database import transaction
from models.platform.errors import NotFound
from models.platform.keyset import KeysetPage
from models.platform.model import BinaryJSONField, DateTimeTZField, Model, TenantModel
from models.platform.principal import Principal
from models.platform.redis import redis_client
from models.runs import progress
from models.runs.run import ACTIVE, CANCELLED, Run
from models.storage import removal

PREVIEW = 160  # characters of a message that lists show
WATCHED_SECONDS = 60  # for which the clients of a deleted run can still read how it ended


class ConversationNotFound(NotFound):
    code, message = "conversation_not_found", "Conversation not found."

    def __init__(self, key: str) -> None:
        super().__init__(f"Conversation {key[:255]} does not exist")


class ListedConversation(NamedTuple):
    """What lists show of a conversation. Whole rows would cost more than the rest of the request."""

    id: UUID
    key: str
    title: str | None
    message_count: int
    last_message: str
    first_message_at: datetime
    last_message_at: datetime
    updated_at: datetime


class AgentUsage(NamedTuple):
    last_used_at: datetime | None
    conversations: int


class Conversation(TenantModel):
    owner, reading = "user_id", CONVERSATION_READ
    key = CharField(max_length=255)
    user_id = UUIDField(null=True)
    entry_agent = CharField()
    active_agent = CharField(null=True)
    title = CharField(null=True)
    renamed_at = DateTimeTZField(null=True)
    message_count = IntegerField(default=0)
    event_count = IntegerField(default=0)
    last_message = TextField(default="")
    first_message_at = DateTimeTZField(default=now)
    last_message_at = DateTimeTZField(default=now)
    updated_at = DateTimeTZField(default=now)

    @classmethod
    def get_visible(cls, principal: Principal, key: str) -> "Conversation":
        """The conversation that this caller knows by `key`. ConversationNotFound if there is none, or it is empty."""
        query = cls.visible_to(principal).where((cls.key == key) & (cls.message_count > 0))
        conversation = query.get_or_none()
        if conversation is None:
            raise ConversationNotFound(key)
        return conversation

    @classmethod
    def page(
        cls, principal: Principal, limit: int, cursor: str | None = None, agent: str | None = None
    ) -> KeysetPage[ListedConversation]:
        """The caller's conversations, last updated first; with `agent`, those that began with it. InvalidCursor."""
        query = cls.visible_to(principal).where(cls.message_count > 0)
        if agent is not None:
            query = query.where(cls.entry_agent == agent)
        columns = [getattr(cls, name) for name in ListedConversation._fields]
        return KeysetPage.of(query.select(*columns), ListedConversation, (cls.updated_at, cls.id), limit, cursor)

    @classmethod
    def rename(cls, principal: Principal, key: str, title: str) -> "Conversation":
        """Give a conversation another title, which neither moves it in lists nor changes its times. ConversationNotFound."""
        conversation = cls.get_visible(principal, key)
        if not may(principal, CONVERSATION_RENAME, conversation):
            raise ConversationNotFound(key)
        conversation.title = title
        cls.update(title=title, renamed_at=now()).where(cls.id == conversation.id).execute()
        return conversation

    @classmethod
    def usage_of_agent(cls, principal: Principal, agent: str) -> AgentUsage:
        """How much the caller's tenant uses an agent."""
        with_agent = (cls.entry_agent == agent) | (cls.active_agent == agent)
        query = cls.select(fn.max(cls.last_message_at), fn.count(SQL("*")))
        [row] = query.where((cls.tenant_id == principal.tenant_id) & with_agent).tuples().execute()
        return AgentUsage(*row)

    @classmethod
    def remove(cls, principal: Principal, key: str, *, client: ClientInfo = UNKNOWN_CLIENT) -> int:
        """Delete a conversation with its messages, events, runs and objects. An active run is cancelled. ConversationNotFound.

        Returns how many objects there were, whose bytes the job `storage.sweep` removes.
        """
        with transaction():
            # Whoever locks several of them locks first a job, then its conversation, then its run.
            conversation = cls.visible_to(principal).where(cls.key == key).for_update().get_or_none()
            if conversation is None:
                raise ConversationNotFound(key)
            runs = list(Run.select(Run.id, Run.state).where(Run.conversation_id == conversation.id))
            active = [run.id for run in runs if run.state in ACTIVE]
            closed = [Run.close(run_id, CANCELLED, "cancelled", "The conversation was deleted.") for run_id in active]
            objects = removal.delete_of_conversation(conversation.id)  # or nothing would say whose they are
            conversation.delete_instance()
            cls._record_removal(principal, conversation, client)
        # A worker that does not see this, because we die here, finds nothing to write to and ends its job.
        with transaction():
            Job.cancel_where(Job.run_id.in_(active))
        for run in closed:
            if run:
                progress.send_terminal(run)
                redis_client().expire(progress.stream_key(run.id), WATCHED_SECONDS)
        stream_keys = [progress.stream_key(run.id) for run in runs if run.id not in active]
        if stream_keys:
            redis_client().delete(*stream_keys)
        return objects

    @classmethod
    def _record_removal(cls, principal: Principal, conversation: "Conversation", client: ClientInfo) -> None:
        owner = str(conversation.user_id) if conversation.user_id else None
        subject = f"conversation:{conversation.id}"
        audit.record("conversation.deleted", principal, subject, client=client, key=conversation.key, owner=owner)


class Message(Model):
    conversation_id: UUID
    conversation = ForeignKeyField(Conversation, on_delete="CASCADE", lazy_load=False)
    position = IntegerField()
    role = CharField()
    agent = CharField(null=True)
    content = TextField()
    attachments: list[dict[str, Any]] = BinaryJSONField(default=list)
    annotations: list[dict[str, Any]] = BinaryJSONField(default=list)
    run_id = UUIDField(null=True)


class RunEvent(Model):
    conversation_id: UUID
    conversation = ForeignKeyField(Conversation, on_delete="CASCADE", lazy_load=False)
    sequence = IntegerField()
    run_id = UUIDField(null=True)
    workflow_run_id = CharField(null=True)
    response_id = CharField(null=True)
    type = CharField()
    name = CharField(null=True)
    role = CharField(null=True)
    agent = CharField(null=True)
    tool_call_id = CharField(null=True)
    tool_name = CharField(null=True)
    model = CharField(null=True)
    content_text = TextField(null=True)
    reasoning_text = TextField(null=True)
    call_arguments: dict[str, Any] | None = BinaryJSONField(null=True)
    call_output: dict[str, Any] | None = BinaryJSONField(null=True)

    @classmethod
    def purge(cls, days: int, limit: int = 10_000) -> int:
        """Delete at most `limit` events that are older than `days` days. Returns how many were deleted."""
        is_old = cls.created_at < SQL("now() - make_interval(days => %s)", (days,))
        old = cls.select(cls.id).where(is_old).limit(limit)
        return cast(int, cls.delete().where(cls.id.in_(old)).execute())
