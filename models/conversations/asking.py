"""Asking a question: the user's message and the queued run that will answer it."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from peewee import IntegrityError

from models.billing.quotas import Guard
from models.conversations import attachments
from models.conversations.attachments import Attachment
from models.conversations.conversation import PREVIEW, Conversation, ConversationNotFound
from models.conversations.titles import title_of
from models.platform.authorization import Rows, rows
from models.platform.database import Json, in_transaction
from models.platform.errors import Conflict
from models.platform.ids import parse_uuid, uuid7
from models.platform.locks import lock
from models.platform.principal import Principal
from models.runs import approvals
from models.runs.approvals import Approval
from models.runs.run import ACTIVE, CHAT, WAITING, Run

# Insert the message and its queued run, in one round trip. No row is returned if the caller may not read the conversation,
# or it has an active run. The run does not repeat the message's text, it refers to its position in the conversation.
ASK = """
with opened as (
    insert into conversation as existing (id, tenant_id, user_id, key, entry_agent, message_count, last_message, title)
    values (%(conversation_id)s, %(tenant_id)s, %(user_id)s, %(key)s, %(agent)s, 1, %(preview)s, %(title)s)
    on conflict (tenant_id, key) do update set entry_agent = excluded.entry_agent,
        message_count = existing.message_count + 1, last_message = excluded.last_message,
        title = coalesce(existing.title, excluded.title),
        last_message_at = clock_timestamp(), updated_at = clock_timestamp()
    where %(reads_tenant)s or (%(reads_own)s and existing.user_id = excluded.user_id)
    returning id, key, message_count
), started as (
    insert into run (id, tenant_id, user_id, kind, conversation_id, conversation_key, agent, state,
        request, idempotency_key, fingerprint)
    select %(run_id)s, %(tenant_id)s, %(user_id)s, %(kind)s, id, key, %(agent)s, 'queued',
        %(request)s || jsonb_build_object('question_position', message_count - 1), %(idempotency_key)s, %(fingerprint)s
    from opened where not exists (
        select from run where conversation_id = opened.id and state in ('queued', 'running', 'waiting'))
    returning *
), added as (
    insert into message (id, conversation_id, position, role, content, attachments, run_id)
    select %(message_id)s, opened.id, message_count - 1, 'user', %(message)s, %(attachments)s, started.id
    from opened, started
)
select {started.columns}, message_count from opened, started"""


class ConversationBusy(Conflict):
    code = "conversation_busy"
    message = "This conversation is still answering. Wait for its run, or cancel it."


class IdempotencyConflict(Conflict):
    code = "idempotency_conflict"
    message = "This Idempotency-Key was used with another request."


@dataclass(frozen=True, slots=True)
class Question:
    """`conversation_id`: what the client calls the conversation, None for a new one. `options`: location, run options
    and context, kept with the run. `idempotency_key`: repeated by a client that repeats its request. `agent`: for a run of
    the kind workflow its key. `attachments`: ids of objects in storage."""

    message: str
    agent: str
    conversation_id: str | None = None
    options: dict[str, Any] | None = None
    idempotency_key: str | None = None
    kind: str = CHAT
    attachments: tuple[UUID, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Equal for equal requests: 64 hexadecimal characters."""
        request = {
            **(self.options or {}),
            "message": self.message,
            "agent": self.agent,
            "conversation_id": self.conversation_id,
        }
        if self.kind != CHAT:
            request["kind"] = self.kind
        if self.attachments:
            request["attachments"] = [str(object_id) for object_id in self.attachments]
        return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


@in_transaction
def ask(principal: Principal, question: Question, guard: Guard | None = None) -> tuple[Run, bool]:
    """Add a question and its queued run. Returns (run, whether it is new): a repeated request gets its earlier run.

    `guard`: reserves what the run may use, unless it is an earlier one; the run gets its holder's id.
    ConversationNotFound, ConversationBusy while another run is active, IdempotencyConflict; ObjectNotFound, ObjectNotReady,
    AttachmentsTooLarge.
    """
    fingerprint, idempotency_key = question.fingerprint, _own_idempotency_key(principal, question)
    if idempotency_key:
        earlier = _find_earlier_run(principal, idempotency_key, fingerprint)
        if earlier:
            return earlier, False
    attached = attachments.resolve(principal, question.attachments)
    if guard is not None:
        guard.reserve()
    key = question.conversation_id or str(uuid4())
    run_id = guard.holder if guard else uuid7()
    started = _start_run(
        principal, question, attached, run_id, key, fingerprint=fingerprint, idempotency_key=idempotency_key
    )
    if started is None:
        raise _refusal(principal, key)
    run, is_new_conversation = started
    if is_new_conversation and question.conversation_id and _belongs_to_another_tenant(principal, key):
        raise ConversationNotFound(key)
    return run, True


def _own_idempotency_key(principal: Principal, question: Question) -> str | None:
    """The key as it is stored. All runs of machines have no user, so each service account has keys of its own."""
    key = question.idempotency_key
    if key is None or principal.account is None:
        return key
    return hashlib.sha256(f"{principal.account}\n{key}".encode()).hexdigest()


def _start_run(
    principal: Principal,
    question: Question,
    attached: list[Attachment],
    run_id: UUID,
    key: str,
    *,
    fingerprint: str,
    idempotency_key: str | None,
) -> tuple[Run, bool] | None:
    """(run, whether its conversation is new). None if the caller may not ask in the conversation, or not now."""
    reads = rows(principal, Conversation.reading)
    try:
        row = Run.one_with_extras(
            ASK,
            conversation_id=uuid7(),
            run_id=run_id,
            message_id=uuid7(),
            tenant_id=principal.tenant_id,
            user_id=principal.user_id,
            reads_tenant=reads is Rows.TENANT,
            reads_own=reads is Rows.OWN,
            key=key,
            kind=question.kind,
            agent=question.agent,
            message=question.message,
            attachments=Json(attached),
            preview=question.message[:PREVIEW],
            title=title_of(question.message),
            request=Json(question.options or {}),
            idempotency_key=idempotency_key,
            fingerprint=fingerprint,
        )
    except IntegrityError as error:
        if "run_one_active" in str(error):  # two questions at the same moment
            raise ConversationBusy(headers={"Retry-After": "1"}) from None
        raise
    if row is None:
        return None
    run, extras = row
    return run, extras["message_count"] == 1


def _refusal(principal: Principal, key: str) -> Exception:
    """Why the caller cannot ask in this conversation."""
    if not Conversation.visible_to(principal).where(Conversation.key == key).exists():
        return ConversationNotFound(key)
    active = Run.visible_to(principal).where((Run.conversation_key == key) & Run.state.in_(ACTIVE)).get_or_none()
    if active is None:
        return ConversationNotFound(key)
    if active.state == WAITING:
        asked = [approvals.summary(one) for one in Approval.of_run(active.id, only_open=True)]
        message = "This conversation waits for a person. Decide about the call, or cancel the run."
        return ConversationBusy(message, details={"run_id": str(active.id), "approvals": asked})
    return ConversationBusy(details={"run_id": str(active.id)}, headers={"Retry-After": "1"})


def _belongs_to_another_tenant(principal: Principal, key: str) -> bool:
    """Keys that are UUIDs are unique across tenants. Other keys are names that each tenant may use."""
    if parse_uuid(key) is None:
        return False
    is_foreign = (Conversation.key == key) & (Conversation.tenant_id != principal.tenant_id)
    return Conversation.select(Conversation.id).where(is_foreign).exists()


def _find_earlier_run(principal: Principal, idempotency_key: str, fingerprint: str) -> Run | None:
    """The run that this key has started. Requests with equal keys wait here for each other's transactions."""
    lock("idempotency-key", principal.tenant_id, principal.user_id, idempotency_key)
    is_own = (Run.tenant_id == principal.tenant_id) & (Run.user_id == principal.user_id)
    run = Run.get_or_none(is_own & (Run.idempotency_key == idempotency_key))
    if run and run.fingerprint != fingerprint:
        raise IdempotencyConflict(details={"run_id": str(run.id)})
    return run
