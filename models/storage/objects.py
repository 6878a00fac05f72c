"""A stored object: the row comes first and says what is true; the bytes follow it."""

from typing import Any
from uuid import UUID

from peewee import SQL, BigIntegerField, CharField, ModelSelect, Table, UUIDField, fn

from models.platform.authorization import CONVERSATION_READ, STORAGE_READ, Rows, rows
from models.platform.clock import now
from models.platform.errors import Conflict, NotFound
from models.platform.model import BinaryJSONField, DateTimeTZField, TenantModel
from models.platform.principal import Principal

PENDING_UPLOAD, READY, REJECTED, DELETED = "pending_upload", "ready", "rejected", "deleted"
CONVERSATIONS = Table("conversation")  # its model is a family above this one


class ObjectNotFound(NotFound):
    code, message = "object_not_found", "Object not found"


class ObjectNotReady(Conflict):
    """`details`: {"object_id", "status", "reason"}; the reason is a code, null while its bytes are awaited."""

    code, message = "object_not_ready", "The bytes of this object are not there yet."

    def __init__(self, found: "StorageObject") -> None:
        details = {"object_id": str(found.id), "status": found.status, "reason": found.rejection_code}
        super().__init__("This object was rejected." if found.status == REJECTED else None, details=details)


class ConversationGone(NotFound):
    code, message = "conversation_not_found", "The conversation of this object does not exist."


class StorageObject(TenantModel):
    """`size_bytes` is as announced until it is ready, and then as stored.

    `source`: of what a worker wrote, what it is the result of. `rejection_code`: why it is not ready and never will be.
    `upload_id`, `part_bytes`: of an upload in parts. `blobs_removed_at`: nothing of it is left in the storage.
    """

    owner, reading = None, STORAGE_READ
    updated_at = DateTimeTZField(default=now)
    creator_id = UUIDField(null=True)
    bucket = CharField()
    object_key = CharField()
    filename = CharField()
    mime_type = CharField()
    size_bytes = BigIntegerField()
    sha256 = CharField(null=True)
    status = CharField(default=PENDING_UPLOAD)
    agent_key = CharField(null=True)
    conversation_id = UUIDField(null=True)
    metadata: dict[str, Any] = BinaryJSONField(default=dict)
    deleted_at = DateTimeTZField(null=True)
    source = CharField(null=True)
    rejection_code = CharField(null=True)
    upload_id = CharField(null=True)
    part_bytes = BigIntegerField(null=True)
    verify_job_id = UUIDField(null=True)
    blobs_removed_at = DateTimeTZField(null=True)

    class Meta:
        table_name = "storage_object"

    @classmethod
    def visible_to(cls, principal: Principal) -> "ModelSelect[StorageObject]":
        """The one door: an object of a conversation is visible to those who may read that, and any other to its tenant."""
        query = super().visible_to(principal)
        match rows(principal, CONVERSATION_READ):
            case Rows.OWN:
                is_own = (CONVERSATIONS.c.id == cls.conversation_id) & (CONVERSATIONS.c.user_id == principal.user_id)
                own = CONVERSATIONS.select(SQL("1")).where(is_own)
                return query.where(cls.conversation_id.is_null() | fn.exists(own))
            case Rows.NONE:
                return query.where(cls.conversation_id.is_null())
            case _:
                return query

    @classmethod
    def find(cls, principal: Principal, object_id: UUID) -> "StorageObject":
        """A live object, in whatever state. ObjectNotFound if there is none, or this caller may not see it."""
        found = cls.visible_to(principal).where((cls.id == object_id) & cls.deleted_at.is_null()).get_or_none()
        if found is None:
            raise ObjectNotFound()
        return found

    @classmethod
    def ready_for(cls, principal: Principal, object_id: UUID) -> "StorageObject":
        """A live object whose bytes can be read. ObjectNotFound, ObjectNotReady."""
        found = cls.find(principal, object_id)
        if found.status != READY:
            raise ObjectNotReady(found)
        return found

    @classmethod
    def of_tenant(cls, tenant_id: UUID, object_id: UUID) -> "StorageObject":
        """For workers, who have asked already who may see it: a live object that is ready. ObjectNotFound, ObjectNotReady."""
        found = cls.get_or_none((cls.tenant_id == tenant_id) & (cls.id == object_id) & cls.deleted_at.is_null())
        if found is None:
            raise ObjectNotFound()
        if found.status != READY:
            raise ObjectNotReady(found)
        return found

    @property
    def is_live(self) -> bool:
        return self.deleted_at is None
