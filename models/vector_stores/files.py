"""The files of vector stores, and which files at the provider belong to which tenant."""

from typing import Any

from peewee import BigIntegerField, CharField, IntegerField, TextField, UUIDField

from models.platform.authorization import VECTOR_STORE_READ
from models.platform.clock import now
from models.platform.model import BinaryJSONField, DateTimeTZField, TenantModel

IN_PROGRESS, COMPLETED, FAILED, CANCELLED, DELETED = "in_progress", "completed", "failed", "cancelled", "deleted"


class VectorStoreFile(TenantModel):
    """`file_id` is what clients call it: `file-` and the object's id in hexadecimal, or the provider's id."""

    owner, reading = None, VECTOR_STORE_READ
    updated_at = DateTimeTZField(default=now)
    vector_store_id = UUIDField()
    file_id = CharField()
    object_id = UUIDField(null=True)
    filename = CharField()
    mime_type = CharField(null=True)
    size_bytes = BigIntegerField(null=True)
    sha256 = CharField(null=True)
    usage_bytes = BigIntegerField(default=0)
    status = CharField(default=IN_PROGRESS)
    attributes: dict[str, Any] = BinaryJSONField(default=dict)
    chunking_strategy: dict[str, Any] | None = BinaryJSONField(null=True)
    last_error = TextField(null=True)
    error_code = CharField(null=True)
    chunk_count = IntegerField(default=0)
    run_id = UUIDField(null=True)
    edition_id = BigIntegerField(null=True)  # of its chunks that searches see: models/vector_stores/editions.py
    deleted_at = DateTimeTZField(null=True)

    class Meta:
        table_name = "vector_store_file"


class ProviderFile(TenantModel):
    owner, reading = None, VECTOR_STORE_READ
    provider_file_id = CharField()
    object_id = UUIDField(null=True)
    filename = CharField()
    mime_type = CharField(null=True)
    size_bytes = BigIntegerField(null=True)

    class Meta:
        table_name = "provider_file"
