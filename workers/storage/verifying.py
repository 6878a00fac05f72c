"""Looking at what was uploaded. What was inspected is what is served.

The URL of an upload stays good for a while, so its bytes are copied first: to a key that no client can write. That copy is
what is inspected.
"""

import contextlib
import logging

from prometheus_client import Counter

from models.platform.database import release, transaction
from models.platform.ids import parse_uuid
from models.storage import uploads
from models.storage.names import upload_key
from models.storage.objects import StorageObject
from models.storage.uploads import SIZE_MISMATCH, TYPE_MISMATCH
from workers.gateways import storage
from workers.gateways.storage import BlobMissing, StorageUnavailable
from workers.jobs import STORAGE_BUCKET, STORAGE_PARTS, STORAGE_VERIFY
from workers.runtime import Lease, actor
from workers.storage import buckets
from workers.storage.inspection import Inspection
from workers.storage.removing import remove_blobs

log = logging.getLogger(__name__)
UPLOADS = Counter("storage_uploads_total", "Uploads by what came of them.", ["result"])
for _result in ("ready", SIZE_MISMATCH, TYPE_MISMATCH):
    UPLOADS.labels(_result)


@actor(STORAGE_BUCKET)
def make_bucket(lease: Lease) -> None:
    if lease.job.tenant_id:
        buckets.ensure(lease.job.tenant_id)


@actor(STORAGE_PARTS)
def open_parts(lease: Lease) -> None:
    """Begin an upload in parts, for an object that is to come in parts."""
    object_id = parse_uuid(lease.job.args["object_id"])
    row = StorageObject.get_or_none(StorageObject.id == object_id)
    release()
    if row is None or not row.is_live or row.upload_id:
        return
    buckets.ensure(row.tenant_id)
    key = upload_key(row.tenant_id, row.id)
    upload_id = storage.open_parts(row.bucket, key, row.mime_type)
    if not uploads.keep_upload_id(row.id, upload_id):
        storage.drop_parts(row.bucket, key, upload_id)


@actor(STORAGE_VERIFY)
def verify(lease: Lease) -> None:
    """What has arrived of an upload becomes the object, or it is rejected. If nothing has, it stays pending."""
    row = uploads.of_job(parse_uuid(lease.job.args["object_id"]), lease.job.id)
    release()
    if row is None:
        return
    try:
        found = _arrived(row)
    except BlobMissing:
        return
    if found.size != row.size_bytes:
        _reject(lease, row, SIZE_MISMATCH)
        return
    storage.copy(row.bucket, found.key, row.object_key, etag=found.etag)
    inspected = _inspect(lease, row)
    if inspected.size != row.size_bytes or not inspected.is_as_announced:
        _reject(lease, row, TYPE_MISMATCH if inspected.size == row.size_bytes else SIZE_MISMATCH)
        return
    with transaction():
        is_published = uploads.publish(row, inspected.sha256)
        lease.job.finish()
    if is_published:
        _ended(row, "ready")
        _tidy(row, found.key)
    elif not StorageObject.select().where((StorageObject.id == row.id) & StorageObject.deleted_at.is_null()).exists():
        remove_blobs(row)  # deleted meanwhile; the job that removed its bytes may have come before the copy


def _arrived(row: StorageObject) -> storage.Blob:
    """What was uploaded. BlobMissing."""
    key = upload_key(row.tenant_id, row.id)
    if row.upload_id:
        # Perhaps an earlier attempt has closed it, or parts are still on their way: what follows tells.
        with contextlib.suppress(BlobMissing):
            storage.close_parts(row.bucket, key, row.upload_id, size=row.size_bytes)
    return storage.stat(row.bucket, key)


def _inspect(lease: Lease, row: StorageObject) -> Inspection:
    found = Inspection(row.mime_type)
    with storage.get(row.bucket, row.object_key) as stream:
        for chunk in stream:
            lease.checkpoint()
            found.feed(chunk)
    return found


def _reject(lease: Lease, row: StorageObject, code: str) -> None:
    with transaction():
        is_rejected = uploads.reject(row, code)
        lease.job.finish()
    if is_rejected:
        _ended(row, code)
        try:
            remove_blobs(row)
        except StorageUnavailable:
            log.warning("storage.left_behind", extra={"object_id": str(row.id)})  # storage.sweep removes it


def _tidy(row: StorageObject, key: str) -> None:
    try:
        storage.remove(row.bucket, key)
    except StorageUnavailable:
        log.warning("storage.left_behind", extra={"object_id": str(row.id)})  # the nightly comparison removes it


def _ended(row: StorageObject, result: str) -> None:
    UPLOADS.labels(result).inc()
    fields = {"object_id": str(row.id), "tenant_id": str(row.tenant_id), "size_bytes": row.size_bytes}
    log.info("storage.upload_ended", extra={**fields, "mime_type": row.mime_type, "result": result})
