"""Lists of objects, the newest first."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from peewee import ModelSelect

from models.platform.keyset import KeysetPage
from models.platform.principal import Principal
from models.storage.objects import CONVERSATIONS, StorageObject


class ListedObject(NamedTuple):
    """`conversation`: what clients call its conversation."""

    id: UUID
    bucket: str
    object_key: str
    filename: str
    mime_type: str
    size_bytes: int
    status: str
    created_at: datetime
    agent_key: str | None
    sha256: str | None
    rejection_code: str | None
    conversation: str | None


def _query(principal: Principal) -> "ModelSelect[Any]":
    its_key = CONVERSATIONS.select(CONVERSATIONS.c.key).where(CONVERSATIONS.c.id == StorageObject.conversation_id)
    columns = [getattr(StorageObject, name) for name in ListedObject._fields[:-1]]
    return StorageObject.visible_to(principal).select(*columns, its_key).where(StorageObject.deleted_at.is_null())


def _of_conversation(query: "ModelSelect[Any]", principal: Principal, key: str) -> "ModelSelect[Any]":
    is_it = (CONVERSATIONS.c.tenant_id == principal.tenant_id) & (CONVERSATIONS.c.key == key)
    return query.where(StorageObject.conversation_id == CONVERSATIONS.select(CONVERSATIONS.c.id).where(is_it))


def shown(principal: Principal, object_id: UUID) -> ListedObject | None:
    """One object as lists show it; None if there is none that this caller may see."""
    row = _query(principal).where(StorageObject.id == object_id).tuples().first()
    return ListedObject(*row) if row else None


def page_after(principal: Principal, conversation: str | None, limit: int, cursor: str) -> KeysetPage[ListedObject]:
    """A page of the caller's list, after the one that gave this cursor. InvalidCursor."""
    return KeysetPage.of(_filtered(principal, conversation), ListedObject, _order(), limit, cursor)


def page_at(
    principal: Principal, conversation: str | None, limit: int, offset: int
) -> tuple[KeysetPage[ListedObject], int | None]:
    """(a page of the caller's list after so many rows, the next offset); None if this is the last page."""
    page = KeysetPage.of(_filtered(principal, conversation).offset(offset), ListedObject, _order(), limit)
    return page, offset + limit if page.next_cursor else None


def _filtered(principal: Principal, conversation: str | None) -> "ModelSelect[Any]":
    query = _query(principal)
    return query if conversation is None else _of_conversation(query, principal, conversation)


def _order() -> list[Any]:
    return [StorageObject.created_at, StorageObject.id]
