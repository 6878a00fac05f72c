"""Waiting for the storage: for the bucket of a tenant, and for what becomes of an upload.

Whoever needs an object's bytes asks for `ready_object`: an upload whose bytes have arrived is verified then, if nobody has
asked for that before.
"""

from typing import Any
from uuid import UUID

from edge.waiting import wait_until
from models.jobs.ledger import SUCCEEDED, Job
from models.platform import limits
from models.platform.database import transaction
from models.platform.principal import Principal
from models.platform.settings import settings
from models.storage import uploads
from models.storage.buckets import Bucket
from models.storage.objects import PENDING_UPLOAD, READY, ObjectNotFound, ObjectNotReady, StorageObject
from models.storage.uploads import UploadMissing
from workers.gateways.storage import StorageUnavailable
from workers.jobs import STORAGE_BUCKET, STORAGE_PARTS, STORAGE_VERIFY, enqueue

AGAIN = {"Retry-After": "5"}


def ready_object(principal: Principal, object_id: UUID) -> StorageObject:
    """An object whose bytes can be read now. ObjectNotFound, ObjectNotReady, StorageUnavailable, QuotaExceeded."""
    found = StorageObject.find(principal, object_id)
    if found.status == PENDING_UPLOAD:
        try:
            found = settled(found)
        except UploadMissing:
            raise ObjectNotReady(found) from None
    if found.status != READY:
        raise ObjectNotReady(found)
    return found


def settled(row: StorageObject) -> StorageObject:
    """An upload as it is once a job has looked for its bytes, or after STORAGE_WAIT_SECONDS: then it may still be pending.

    UploadMissing, ObjectNotFound if it was deleted meanwhile, StorageUnavailable, QuotaExceeded.
    """
    per_minute = settings.storage_uploads_per_minute
    limits.hit("storage_checks_per_minute", per_minute, 60, row.tenant_id)
    seen, job, is_ours = _searched(row.id)
    if seen.status == PENDING_UPLOAD and job and job.state == SUCCEEDED and not is_ours:
        seen, job, _ = _searched(row.id)  # that one may have looked before the bytes came
    if seen.status == PENDING_UPLOAD and job and job.state == SUCCEEDED:
        raise UploadMissing(details={"object_id": str(row.id)})
    return seen


def _searched(object_id: UUID) -> tuple[StorageObject, Job | None, bool]:
    """(the row; the job that was waited for, as it is then; whether this call has sent it)."""
    with transaction():
        row, job = uploads.searching_job(object_id)
        is_ours = job is None
        if row.status != PENDING_UPLOAD:
            return row, None, False
        if job is None:
            job = enqueue(STORAGE_VERIFY, tenant_id=row.tenant_id, object_id=str(row.id))
            uploads.searched_by(row.id, job.id)
    job_id = job.id

    def look() -> tuple[tuple[StorageObject, Job | None], bool]:
        seen_job = Job.get_or_none(Job.id == job_id)  # before the row, which is written together with its end
        seen = StorageObject.get_or_none((StorageObject.id == object_id) & StorageObject.deleted_at.is_null())
        if seen is None:
            raise ObjectNotFound()
        if seen.status == PENDING_UPLOAD and seen_job and seen_job.failures:
            raise StorageUnavailable(headers=AGAIN)  # it goes on trying
        return (seen, seen_job), seen.status != PENDING_UPLOAD or seen_job is None or seen_job.is_finished

    (seen, seen_job), _ = wait_until(look, _is_settled, settings.storage_wait_seconds)
    return seen, seen_job, is_ours


def bucket_made(tenant_id: UUID) -> None:
    """Wait until the tenant has its bucket. StorageUnavailable."""
    if Bucket.is_made(tenant_id):
        return
    with transaction():
        job_id = enqueue(STORAGE_BUCKET, tenant_id=tenant_id).id
    there, _ = wait_until(
        lambda: _is_there(Bucket.is_made(tenant_id), job_id), _is_settled, settings.storage_wait_seconds
    )
    if not there:
        raise StorageUnavailable(headers=AGAIN)


def opened_in_parts(row: StorageObject) -> StorageObject:
    """The row, whose upload in parts has begun at the storage. StorageUnavailable: then there is no such object."""
    with transaction():
        job_id = enqueue(STORAGE_PARTS, tenant_id=row.tenant_id, object_id=str(row.id)).id

    def look() -> tuple[bool, bool]:
        return _is_there(StorageObject.get_by_id(row.id).upload_id is not None, job_id)

    there, _ = wait_until(look, _is_settled, settings.storage_wait_seconds)
    if not there:
        with transaction():
            uploads.drop(row.id)
        raise StorageUnavailable(headers=AGAIN)
    return StorageObject.get_by_id(row.id)


def _is_there(there: bool, job_id: UUID) -> tuple[bool, bool]:
    """(whether it is there, whether there is nothing to wait for): also if the job has failed once."""
    job = None if there else Job.get_or_none(Job.id == job_id)
    return there, there or job is None or bool(job.failures)


def _is_settled(seen: tuple[Any, bool]) -> bool:
    return seen[1]
