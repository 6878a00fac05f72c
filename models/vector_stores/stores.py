"""A vector store: files that can be searched by meaning. Its engine is ours (pgvector) or the provider's (openai)."""

from typing import Any
from uuid import UUID

from peewee import BigIntegerField, BooleanField, CharField, IntegerField, TextField, UUIDField

from models.platform.authorization import VECTOR_STORE_READ
from models.platform.clock import now
from models.platform.errors import NotFound
from models.platform.model import BinaryJSONField, DateTimeTZField, TenantModel
from models.platform.principal import Principal

PGVECTOR, OPENAI = "pgvector", "openai"  # engines
CREATING, IN_PROGRESS, COMPLETED, EXPIRED, FAILED, DELETED = (
    "creating",
    "in_progress",
    "completed",
    "expired",
    "failed",
    "deleted",
)


class VectorStoreNotFound(NotFound):
    code, message = "vector_store_not_found", "Vector store not found"


class VectorStore(TenantModel):
    owner, reading = None, VECTOR_STORE_READ
    updated_at = DateTimeTZField(default=now)
    creator_id = UUIDField(null=True)
    name = CharField()
    description = TextField(null=True)
    status = CharField()
    engine = CharField()
    provider_id = CharField(null=True)
    embedding_model = CharField(null=True)
    dimensions = IntegerField(null=True)
    usage_bytes = BigIntegerField(default=0)
    expires_after: dict[str, Any] | None = BinaryJSONField(null=True)
    expires_at = DateTimeTZField(null=True)
    last_active_at = DateTimeTZField(null=True)
    metadata: dict[str, Any] = BinaryJSONField(default=dict)
    has_own_table = BooleanField(default=False)  # of chunks: models/vector_stores/tables.py
    indexed_edition = BigIntegerField(default=0)  # the last one in its index: models/vector_stores/indexes.py
    deleted_at = DateTimeTZField(null=True)

    class Meta:
        table_name = "vector_store"

    @classmethod
    def find(cls, principal: Principal, store_id: UUID) -> "VectorStore":
        """A live store. VectorStoreNotFound if there is none, or this caller may not see it."""
        found = cls.visible_to(principal).where((cls.id == store_id) & cls.deleted_at.is_null()).get_or_none()
        if found is None:
            raise VectorStoreNotFound()
        return found
