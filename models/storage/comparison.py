"""What the rows say about the objects of a bucket, for those who compare them with the storage."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple
from uuid import UUID

from models.platform.database import database
from models.storage.buckets import Bucket
from models.storage.objects import PENDING_UPLOAD, READY

BATCH = 1000
OF_IDS = """
select id, bucket, object_key, status, deleted_at is null, size_bytes, upload_id, blobs_removed_at is null
from storage_object where id = any(%(ids)s)"""
READY_ONES = """
select id, object_key from storage_object
where tenant_id = %(tenant_id)s and bucket = %(bucket)s and status = %(ready)s and deleted_at is null and id > %(after)s
order by id limit %(limit)s"""
TENANT = "select 1 from tenant where id = %(tenant_id)s"
NO_ID = UUID(int=0)


class Known(NamedTuple):
    """What a row says. `is_left`: what is in the storage of it is still to be removed, if it is not live."""

    id: UUID
    bucket: str
    object_key: str
    status: str
    is_live: bool
    size_bytes: int
    upload_id: str | None
    is_left: bool

    @property
    def is_pending(self) -> bool:
        return self.is_live and self.status == PENDING_UPLOAD

    @property
    def is_ready(self) -> bool:
        return self.is_live and self.status == READY

    @property
    def is_swept(self) -> bool:
        """Whether a job removes it in any case."""
        return not (self.is_pending or self.is_ready) and self.is_left


def known(ids: Iterable[UUID]) -> dict[UUID, Known]:
    """The rows of these objects."""
    rows = database.execute_prepared(OF_IDS, {"ids": list(ids)}).fetchall()
    return {row[0]: Known(*row) for row in rows}


def ready_ones(bucket: Bucket) -> Iterator[list[tuple[UUID, str]]]:
    """(id, key) of all objects of a bucket that are ready, in batches, by id."""
    after = NO_ID
    while True:
        values = {"tenant_id": bucket.tenant_id, "bucket": bucket.name, "ready": READY, "after": after, "limit": BATCH}
        rows = database.execute_prepared(READY_ONES, values).fetchall()
        if not rows:
            return
        yield rows
        after = rows[-1][0]


def has_tenant(bucket: Bucket) -> bool:
    return database.execute_prepared(TENANT, {"tenant_id": bucket.tenant_id}).fetchone() is not None
