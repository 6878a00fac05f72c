"""Uploads: announcing one, looking for its bytes, and what becomes of it."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from peewee import IntegrityError

from models.jobs.ledger import Job
from models.platform.clock import now
from models.platform.database import in_transaction
from models.platform.errors import Conflict, DomainError
from models.platform.ids import uuid7
from models.platform.principal import Principal
from models.platform.settings import settings
from models.storage import limits
from models.storage.names import bucket_of, object_key
from models.storage.objects import (
    DELETED,
    PENDING_UPLOAD,
    READY,
    REJECTED,
    ConversationGone,
    ObjectNotFound,
    StorageObject,
)

PART_BYTES = 16 * limits.MEGABYTE
SIZE_MISMATCH, TYPE_MISMATCH = "size_mismatch", "type_mismatch"
REASONS = {
    SIZE_MISMATCH: "What was uploaded has another size than was announced.",
    TYPE_MISMATCH: "What was uploaded is not of the type that was announced.",
}


class NotPending(Conflict):
    code, message = "object_not_pending", "Nothing is uploaded to this object any more."


class UploadMissing(Conflict):
    code, message = "upload_missing", "Nothing has been uploaded yet, or not all parts of it."


class UploadRejected(DomainError):
    """What came is not what was announced. `code` says in what way."""

    status = 422

    def __init__(self, row: StorageObject) -> None:
        code = row.rejection_code or "rejected"
        super().__init__(REASONS.get(code), details={"object_id": str(row.id), "status": row.status, "reason": code})
        self.code = code


@dataclass(frozen=True, slots=True)
class Announcement:
    """`conversation_id`: the id of the row, which the caller may read. `in_parts`: the bytes come in parts."""

    filename: str
    mime_type: str
    size_bytes: int
    agent_key: str | None = None
    conversation_id: UUID | None = None
    metadata: dict[str, Any] | None = None
    in_parts: bool = False


@in_transaction
def announce(principal: Principal, wish: Announcement) -> StorageObject:
    """Add an object whose bytes are to come. They count from now on. StorageFull, ConversationGone."""
    tenant_id, object_id = principal.tenant_id, uuid7()
    if tenant_id is None:
        raise ObjectNotFound()
    limits.reserve(tenant_id, wish.size_bytes)
    try:
        return StorageObject.create(
            id=object_id,
            tenant_id=tenant_id,
            creator_id=principal.user_id,
            bucket=bucket_of(tenant_id),
            object_key=object_key(tenant_id, object_id, wish.filename),
            filename=wish.filename,
            mime_type=wish.mime_type,
            size_bytes=wish.size_bytes,
            agent_key=wish.agent_key,
            conversation_id=wish.conversation_id,
            metadata=wish.metadata or {},
            part_bytes=PART_BYTES if wish.in_parts else None,
        )
    except IntegrityError as error:
        if "conversation_id" in str(error):
            raise ConversationGone() from None
        raise


def parts_of(row: StorageObject) -> list[int]:
    """The sizes of the parts in which an object comes, at least one; in order."""
    if not row.part_bytes:
        return [row.size_bytes]
    whole, rest = divmod(row.size_bytes, row.part_bytes)
    return [row.part_bytes] * whole + ([rest] if rest or not whole else [])


def expires_at(row: StorageObject) -> Any:
    """When an upload is dropped if its bytes have not been found."""
    return row.created_at + timedelta(seconds=settings.storage_upload_ttl_seconds)


def _open(object_id: UUID) -> Any:
    is_its = StorageObject.id == object_id
    return is_its & (StorageObject.status == PENDING_UPLOAD) & StorageObject.deleted_at.is_null()


@in_transaction
def searching_job(object_id: UUID) -> tuple[StorageObject, Job | None]:
    """(the row, locked; the job that looks for its bytes now and has not failed yet). ObjectNotFound."""
    row = StorageObject.lock(object_id)
    if row is None or not row.is_live:
        raise ObjectNotFound()
    job = Job.get_or_none(Job.id == row.verify_job_id) if row.verify_job_id else None
    is_under_way = job is not None and not job.is_finished and not job.failures
    return row, job if is_under_way else None


@in_transaction
def searched_by(object_id: UUID, job_id: UUID) -> None:
    """From now on this job alone may say what became of the upload."""
    StorageObject.update(verify_job_id=job_id).where(_open(object_id)).execute()


def of_job(object_id: UUID | None, job_id: UUID) -> StorageObject | None:
    """The upload that this job is to look for; None if there is nothing left to do, or a later job does it."""
    return StorageObject.get_or_none(_open(object_id) & (StorageObject.verify_job_id == job_id)) if object_id else None


def keep_upload_id(object_id: UUID, upload_id: str) -> bool:
    """Remember the storage's id of an upload in parts. False if the object has one, or is gone."""
    is_without = _open(object_id) & StorageObject.upload_id.is_null()
    return bool(StorageObject.update(upload_id=upload_id, updated_at=now()).where(is_without).execute())


@in_transaction
def publish(row: StorageObject, sha256: str) -> bool:
    """Its bytes are verified. False if it was deleted meanwhile, or another job looks for them now."""
    is_ours = _open(row.id) & (StorageObject.verify_job_id == row.verify_job_id)
    return bool(StorageObject.update(status=READY, sha256=sha256, updated_at=now()).where(is_ours).execute())


@in_transaction
def reject(row: StorageObject, code: str) -> bool:
    """Its bytes are not what was announced. False as `publish`."""
    is_ours = _open(row.id) & (StorageObject.verify_job_id == row.verify_job_id)
    found = {"status": REJECTED, "rejection_code": code, "updated_at": now()}
    return bool(StorageObject.update(**found).where(is_ours).execute())


@in_transaction
def drop(object_id: UUID) -> None:
    """Take back an upload that could not be begun."""
    gone = {"status": DELETED, "deleted_at": now(), "updated_at": now()}
    StorageObject.update(**gone).where(_open(object_id)).execute()
