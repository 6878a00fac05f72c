"""Conversations, their messages, and the run events behind the answers."""

import base64
import hashlib
import json
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from peewee import (
    SQL,
    CharField,
    Expression,
    ForeignKeyField,
    IntegerField,
    IntegrityError,
    TextField,
    Tuple,
    UUIDField,
    fn,
)

from models.jobs.ledger import FINISHED, Job
from models.platform.clock import now
from models.platform.database import Json, in_transaction, transaction
from models.platform.errors import BadRequest, Conflict, NotFound
from models.platform.ids import parse_uuid, uuid7
from models.platform.locks import lock
from models.platform.model import BinaryJSONField, DateTimeTZField, Model, TenantModel
from models.platform.principal import Principal
from models.platform.redis import redis_client
from models.runs import progress
from models.runs.run import ACTIVE, Run

PREVIEW = 160
# The user's message and its queued run, in one round trip. No row: the conversation is somebody else's, or still answering.
ASK = """
with opened as (
    insert into conversation as mine (id, tenant_id, user_id, key, entry_agent, message_count, last_message)
    values (%(conversation_id)s, %(tenant_id)s, %(user_id)s, %(key)s, %(agent)s, 1, %(preview)s)
    on conflict (tenant_id, key) do update set entry_agent = excluded.entry_agent,
        message_count = mine.message_count + 1, last_message = excluded.last_message,
        last_message_at = clock_timestamp(), updated_at = clock_timestamp()
    where mine.user_id = excluded.user_id or %(admin)s
    returning id, key, message_count
), started as (
    insert into run (id, tenant_id, user_id, kind, conversation_id, conversation_key, agent, state,
        request, idempotency_key, fingerprint)
    select %(run_id)s, %(tenant_id)s, %(user_id)s, 'chat', id, key, %(agent)s, 'queued',
        %(request)s, %(idempotency_key)s, %(fingerprint)s
    from opened where not exists (
        select from run where conversation_id = opened.id and state in ('queued', 'running'))
    returning *
), said as (
    insert into message (id, conversation_id, position, role, content, run_id)
    select %(message_id)s, opened.id, message_count - 1, 'user', %(message)s, started.id from opened, started
)
select {started.columns}, message_count from opened, started"""


class ConversationNotFound(NotFound):
    code, message = "conversation_not_found", "Conversation not found."


class ConversationBusy(Conflict):
    code = "conversation_busy"
    message = "This conversation is still answering. Wait for its run, or cancel it."


class IdempotencyConflict(Conflict):
    code = "idempotency_conflict"
    message = "This Idempotency-Key was used with another request."


class InvalidCursor(BadRequest):
    code, message = "invalid_cursor", "Invalid pagination cursor"


class Conversation(TenantModel):
    owner = "user_id"
    key = CharField(max_length=255)
    user_id = UUIDField(null=True)
    entry_agent = CharField()
    active_agent = CharField(null=True)
    message_count = IntegerField(default=0)
    event_count = IntegerField(default=0)
    last_message = TextField(default="")
    first_message_at = DateTimeTZField(default=now)
    last_message_at = DateTimeTZField(default=now)
    updated_at = DateTimeTZField(default=now)

    # ------------------------------------------------------------- reading

    @classmethod
    def get_visible(cls, principal: Principal, key: str) -> "Conversation":
        found = cls.visible_to(principal).where((cls.key == key) & (cls.message_count > 0)).first()
        if found is None:
            raise ConversationNotFound(f"Conversation {key[:255]} does not exist")
        return found

    @classmethod
    def page(cls, principal: Principal, limit: int, cursor: str | None = None, agent: str | None = None):
        """(conversations, next cursor): the last updated first; pages neither overlap nor lose a row."""
        query = cls.visible_to(principal).where(cls.message_count > 0).order_by(cls.updated_at.desc(), cls.id.desc())
        if agent is not None:
            query = query.where(cls.entry_agent == agent)
        if cursor is not None:
            query = query.where(Tuple(cls.updated_at, cls.id) < Tuple(*_decode_cursor(cursor)))
        rows = list(query.limit(limit + 1))
        return rows[:limit], _encode_cursor(rows[limit - 1]) if len(rows) > limit else None

    @classmethod
    def search(cls, principal: Principal, text: str, limit: int = 20) -> list[tuple["Conversation", str]]:
        """(conversation, preview) of the caller's own conversations that hold all words in one message, best first."""
        words = fn.plainto_tsquery("english", text)
        vector = SQL('"t2"."search"')
        rank = fn.max(fn.ts_rank_cd(vector, words))
        own = (cls.tenant_id == principal.tenant_id) & (cls.user_id == principal.user_id)
        query = (
            cls.select(cls, fn.min(Message.content).alias("hit"))
            .join(Message, on=(Message.conversation == cls.id))
            .where(own & Expression(vector, "@@", words))
            .group_by(cls.id)
            .order_by(rank.desc(), cls.updated_at.desc(), cls.id.desc())
            .limit(limit)
            .objects()
        )
        return [(row, row.hit[:PREVIEW]) for row in query]

    @classmethod
    def figures(cls, principal: Principal, agent: str) -> tuple[datetime | None, int]:
        """(last used, conversations) of an agent in the caller's tenant."""
        query = cls.select(fn.max(cls.last_message_at), fn.count(SQL("*"))).where(
            (cls.tenant_id == principal.tenant_id) & ((cls.entry_agent == agent) | (cls.active_agent == agent))
        )
        return next(iter(query.tuples().execute()))

    def messages_in_order(self) -> list["Message"]:
        return list(Message.select().where(Message.conversation == self.id).order_by(Message.position))

    def events_in_order(self, workflow_run_id: str | None = None) -> list["RunEvent"]:
        query = RunEvent.select().where(RunEvent.conversation == self.id).order_by(RunEvent.sequence)
        return list(query.where(RunEvent.workflow_run_id == workflow_run_id) if workflow_run_id else query)

    # ------------------------------------------------------------- writing

    @classmethod
    @in_transaction
    def ask(
        cls,
        principal: Principal,
        *,
        message: str,
        conversation_id: str | None,
        agent: str,
        options: dict[str, Any],
        idempotency_key: str | None,
    ) -> tuple[Run, bool]:
        """In the caller's transaction: the user's message and its queued run. (run, False) for a repeated request."""
        request = {"message": message, "agent": agent, **options}
        fingerprint = _fingerprint({**request, "conversation_id": conversation_id})
        if idempotency_key and (earlier := _earlier(principal, idempotency_key, fingerprint)):
            return earlier, False
        key = conversation_id or str(uuid4())
        try:
            run = Run.one(
                ASK,
                conversation_id=uuid7(),
                run_id=uuid7(),
                message_id=uuid7(),
                tenant_id=principal.tenant_id,
                user_id=principal.user_id,
                admin=principal.sees_tenant,
                key=key,
                agent=agent,
                message=message,
                preview=message[:PREVIEW],
                request=Json(request),
                idempotency_key=idempotency_key,
                fingerprint=fingerprint,
            )
        except IntegrityError as error:
            if "run_one_active" in str(error):  # asked twice in the same moment
                raise ConversationBusy(headers={"Retry-After": "1"}) from None
            raise
        if run is None:
            raise cls._refusal(principal, key)
        if run.message_count == 1 and conversation_id and _belongs_elsewhere(principal, conversation_id):
            raise ConversationNotFound(f"Conversation {key} does not exist")
        return run, True

    @classmethod
    def _refusal(cls, principal: Principal, key: str) -> Exception:
        """Why nothing can be asked in this conversation."""
        active = (
            Run.visible_to(principal).where((Run.conversation_key == key) & Run.state.in_(ACTIVE)).first()
            if cls.visible_to(principal).where(cls.key == key).exists()
            else None
        )
        if active:
            return ConversationBusy(details={"run_id": str(active.id)}, headers={"Retry-After": "1"})
        return ConversationNotFound(f"Conversation {key} does not exist")

    @classmethod
    def remove(cls, principal: Principal, key: str) -> None:
        """Delete a conversation with its messages, events and runs. A run that is still answering is cancelled."""
        with transaction():
            conversation = cls.visible_to(principal).where(cls.key == key).for_update().first()
            if conversation is None:
                raise ConversationNotFound(f"Conversation {key[:255]} does not exist")
            runs = list(Run.select(Run.id, Run.state).where(Run.conversation_id == conversation.id))
            active = [run.id for run in runs if run.state in ACTIVE]
            ended = [_stop(run_id) for run_id in active]
            conversation.delete_instance()
        for run in filter(None, ended):
            progress.end(run)
        keys = [progress.stream_key(run.id) for run in runs if run.id not in active]
        if keys:
            redis_client().delete(*keys)


def _stop(run_id: UUID) -> Run | None:
    for job in Job.select().where((Job.run_id == run_id) & Job.state.not_in(FINISHED)):
        Job.cancel(job.id)
    return Run.close(run_id, "cancelled", "cancelled", "The conversation was deleted.")


def _belongs_elsewhere(principal: Principal, key: str) -> bool:
    """Ids in UUID form are global: one that another tenant holds is unknown here."""
    if parse_uuid(key) is None:
        return False
    other = (Conversation.key == key) & (Conversation.tenant_id != principal.tenant_id)
    return Conversation.select(Conversation.id).where(other).exists()


def _earlier(principal: Principal, idempotency_key: str, fingerprint: str) -> Run | None:
    """The run that this key has started. Equal keys wait for each other here until their transactions end."""
    lock("idempotency-key", principal.tenant_id, principal.user_id, idempotency_key)
    mine = (Run.tenant_id == principal.tenant_id) & (Run.user_id == principal.user_id)
    run = Run.get_or_none(mine & (Run.idempotency_key == idempotency_key))
    if run and run.fingerprint != fingerprint:
        raise IdempotencyConflict(details={"run_id": str(run.id)})
    return run


def _fingerprint(request: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


def _encode_cursor(row: Conversation) -> str:
    return base64.urlsafe_b64encode(f"{row.updated_at.isoformat()}|{row.id}".encode()).decode().rstrip("=")


def _decode_cursor(cursor: str) -> tuple[datetime, UUID]:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        moment, row_id = text.split("|")
        when = datetime.fromisoformat(moment)
        if when.tzinfo is None:
            raise ValueError(moment)
        return when, UUID(row_id)
    except (ValueError, TypeError):
        raise InvalidCursor() from None


class Message(Model):
    conversation = ForeignKeyField(Conversation, on_delete="CASCADE", lazy_load=False)
    position = IntegerField()
    role = CharField()
    agent = CharField(null=True)
    content = TextField()
    attachments = BinaryJSONField(default=list)
    run_id = UUIDField(null=True)


class RunEvent(Model):
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
    call_arguments = BinaryJSONField(null=True)
    call_output = BinaryJSONField(null=True)

    @classmethod
    def purge(cls, days: int, batch: int = 10_000) -> int:
        old = cls.select(cls.id).where(cls.created_at < SQL("now() - make_interval(days => %s)", (days,))).limit(batch)
        return cls.delete().where(cls.id.in_(old)).execute()
