"""A stored object: the row comes first and says what is true; the bytes follow it."""

from typing import Any
from uuid import UUID

from peewee import BigIntegerField, CharField, UUIDField

from models.platform.authorization import STORAGE_READ
from models.platform.clock import now
from models.platform.errors import NotFound
from models.platform.model import BinaryJSONField, DateTimeTZField, TenantModel
from models.platform.principal import Principal

PENDING_UPLOAD, READY, REJECTED, DELETED = "pending_upload", "ready", "rejected", "deleted"


class ObjectNotFound(NotFound):
    code, message = "object_not_found", "Object not found"


class StorageObject(TenantModel):
    """`size_bytes` and `mime_type` are as announced until it is ready, and then as stored."""

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

    class Meta:
        table_name = "storage_object"

    @classmethod
    def find(cls, principal: Principal, object_id: UUID) -> "StorageObject":
        """A live object, in whatever state. ObjectNotFound if there is none, or this caller may not see it."""
        found = cls.visible_to(principal).where((cls.id == object_id) & cls.deleted_at.is_null()).get_or_none()
        if found is None:
            raise ObjectNotFound()
        return found
