"""Deleting objects: the row first, at once; what is in the storage is removed by a job. The rows say what is left to remove."""

from datetime import timedelta
from typing import Any, cast
from uuid import UUID

from models.platform import audit
from models.platform.authorization import STORAGE_DELETE, may
from models.platform.client_info import UNKNOWN_CLIENT, ClientInfo
from models.platform.clock import now
from models.platform.database import in_transaction
from models.platform.principal import Principal
from models.platform.settings import settings
from models.storage.objects import DELETED, PENDING_UPLOAD, REJECTED, StorageObject

BATCH = 500


@in_transaction
def delete(principal: Principal, object_id: UUID, *, client: ClientInfo = UNKNOWN_CLIENT) -> StorageObject | None:
    """Delete an object that the caller may see. None if there is none."""
    query = StorageObject.visible_to(principal).where(StorageObject.id == object_id)
    row = query.where(StorageObject.deleted_at.is_null()).for_update().get_or_none()
    if row is None or not may(principal, STORAGE_DELETE, row):
        return None
    _mark(StorageObject.id == row.id)
    audit.record("object.deleted", principal, f"object:{row.id}", client=client, filename=row.filename)
    return row


@in_transaction
def delete_of_conversation(conversation_id: UUID) -> int:
    """Delete the objects of a conversation that is being deleted. Returns how many there were."""
    return _mark((StorageObject.conversation_id == conversation_id) & StorageObject.deleted_at.is_null())


def expire() -> int:
    """Delete uploads that never came, and rejected ones that were shown long enough. Returns how many, at most BATCH."""
    before = now() - timedelta(seconds=settings.storage_upload_ttl_seconds)
    is_over = StorageObject.status.in_((PENDING_UPLOAD, REJECTED)) & (StorageObject.created_at < before)
    old = StorageObject.select(StorageObject.id).where(is_over & StorageObject.deleted_at.is_null()).limit(BATCH)
    return _mark(StorageObject.id.in_(old) & StorageObject.deleted_at.is_null())


def _mark(which: Any) -> int:
    gone = {"status": DELETED, "deleted_at": now(), "updated_at": now()}
    return cast(int, StorageObject.update(**gone).where(which).execute())


def leftovers(tenant_id: UUID | None = None, after: UUID | None = None) -> list[StorageObject]:
    """Objects that are deleted or rejected, but may still have something in the storage: at most BATCH, by id."""
    is_gone = StorageObject.deleted_at.is_null(False) | (StorageObject.status == REJECTED)
    query = StorageObject.select().where(is_gone & StorageObject.blobs_removed_at.is_null())
    if tenant_id:
        query = query.where(StorageObject.tenant_id == tenant_id)
    if after:
        query = query.where(StorageObject.id > after)
    return list(query.order_by(StorageObject.id).limit(BATCH))


def mark_removed(object_id: UUID) -> None:
    StorageObject.update(blobs_removed_at=now()).where(StorageObject.id == object_id).execute()
