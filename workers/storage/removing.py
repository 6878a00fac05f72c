"""Removing what is left in the storage of objects that are deleted or rejected."""

import logging
import time

from models.platform.database import release
from models.platform.ids import parse_uuid
from models.storage import removal
from models.storage.names import upload_key
from models.storage.objects import StorageObject
from workers.gateways import storage
from workers.gateways.storage import StorageUnavailable
from workers.jobs import STORAGE_REMOVE, STORAGE_SWEEP
from workers.runtime import Lease, actor

log = logging.getLogger(__name__)
MOST_LOST_SECONDS = 30.0  # that a sweep waits for answers that do not come: it would keep a thread from others


def remove_blobs(row: StorageObject) -> None:
    """Remove all that the storage has of an object, and note it. Repeatable. StorageUnavailable."""
    key = upload_key(row.tenant_id, row.id)
    if row.upload_id:
        storage.drop_parts(row.bucket, key, row.upload_id)
    storage.remove(row.bucket, key)
    storage.remove(row.bucket, row.object_key)
    removal.mark_removed(row.id)


@actor(STORAGE_REMOVE)
def remove(lease: Lease) -> None:
    """Remove what is left of one deleted object."""
    object_id = parse_uuid(lease.job.args["object_id"])
    row = StorageObject.get_or_none(StorageObject.id == object_id)
    release()
    if row is not None and not row.is_live and row.blobs_removed_at is None:
        remove_blobs(row)


@actor(STORAGE_SWEEP)
def sweep(lease: Lease) -> None:
    """Drop uploads that never came; remove what is left of all deleted objects, or of those of the job's tenant."""
    while removal.expire():
        lease.checkpoint()
    last, failed, lost = None, 0, 0.0
    while rows := removal.leftovers(lease.job.tenant_id, last):
        release()
        for row in rows:
            lease.checkpoint()
            began = time.monotonic()
            try:
                remove_blobs(row)
            except StorageUnavailable as error:
                failed, lost = failed + 1, lost + time.monotonic() - began
                log.warning("storage.left_behind", extra={"object_id": str(row.id), "reason": error.code})
            if lost > MOST_LOST_SECONDS:
                raise StorageUnavailable("The storage does not answer.")
        last = rows[-1].id
        if failed == len(rows):
            break  # the storage is away
    if failed:
        raise StorageUnavailable(f"{failed} deleted objects are still in the storage.")
