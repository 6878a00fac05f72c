"""Writing objects that workers make: images, and files that code has written."""

import hashlib
from typing import Any
from uuid import UUID

from peewee import IntegrityError

from models.platform.clock import now
from models.platform.database import in_transaction, release, transaction
from models.platform.ids import uuid7
from models.storage import limits
from models.storage.names import bucket_of, object_key
from models.storage.objects import PENDING_UPLOAD, READY, ConversationGone, StorageObject
from workers.gateways import storage
from workers.storage import buckets


def store(
    tenant_id: UUID,
    *,
    name: str,
    data: bytes,
    mime_type: str,
    source: str,
    creator_id: UUID | None = None,
    conversation_id: UUID | None = None,
    agent_key: str | None = None,
    metadata: dict[str, Any] | None = None,
) -> StorageObject:
    """Store bytes as an object that is ready at once. It counts against the tenant's bytes.

    `source` says what it is the result of, such as `image:<run>:<call>`, at most 255 characters: a second call with the same
    one returns the first call's object, also if that was deleted since. `conversation_id`: the id of the row.
    FileTooLarge, TypeNotAllowed, StorageFull, ConversationGone, StorageUnavailable.
    """
    limits.check_file(mime_type, len(data))
    columns = {
        "tenant_id": tenant_id,
        "bucket": bucket_of(tenant_id),
        "filename": name[:256],
        "mime_type": mime_type,
        "source": source,
        "creator_id": creator_id,
        "conversation_id": conversation_id,
        "agent_key": agent_key,
        "metadata": metadata or {},
        "size_bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    try:
        with transaction():
            row = _reserved(columns)
    except IntegrityError as error:
        if "conversation_id" in str(error):
            raise ConversationGone() from None
        raise
    release()  # nothing is held while the storage is written
    if row.status != PENDING_UPLOAD or not row.is_live:
        return row
    buckets.ensure(tenant_id)
    storage.put(row.bucket, row.object_key, data, mime_type)
    return _published(row)


@in_transaction
def _reserved(columns: dict[str, Any]) -> StorageObject:
    """The row of this source: a new one, or that of an earlier call, which may have been cut off before the bytes were there."""
    tenant_id, size = columns["tenant_id"], columns["size_bytes"]
    is_its = (StorageObject.tenant_id == tenant_id) & (StorageObject.source == columns["source"])
    row = StorageObject.select().where(is_its).for_update().get_or_none()
    if row is None:
        limits.reserve(tenant_id, size)
        object_id = uuid7()
        key = object_key(tenant_id, object_id, columns["filename"])
        created = StorageObject.insert_if_new(id=object_id, object_key=key, **columns)
        # Not new: another call has added it just now.
        return created or StorageObject.select().where(is_its).for_update().get()
    if row.status == PENDING_UPLOAD and row.is_live and row.sha256 != columns["sha256"]:
        # Another attempt made something else. It gets a key of its own: the earlier one may still be writing.
        limits.reserve(tenant_id, size - row.size_bytes)
        key = object_key(tenant_id, row.id, f"{columns['sha256'][:12]}-{columns['filename']}")
        found = {"sha256": columns["sha256"], "size_bytes": size, "object_key": key, "mime_type": columns["mime_type"]}
        StorageObject.update(**found).where(StorageObject.id == row.id).execute()
        return StorageObject.get_by_id(row.id)
    return row


def _published(row: StorageObject) -> StorageObject:
    """The row, ready if these bytes are still what it stands for."""
    is_its = (StorageObject.id == row.id) & (StorageObject.sha256 == row.sha256)
    is_open = (StorageObject.status == PENDING_UPLOAD) & StorageObject.deleted_at.is_null()
    StorageObject.update(status=READY, updated_at=now()).where(is_its & is_open).execute()
    found = StorageObject.get_or_none(StorageObject.id == row.id)
    if found is None:  # its tenant is gone
        raise ConversationGone()
    return found
