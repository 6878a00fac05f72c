"""Comparing our objects with what the storage has, in both directions. Nightly, and `python -m workers.storage reconcile`.

What is younger than GRACE is never touched: it may be on its way.
"""

import itertools
import logging
from collections import Counter as Tally
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from prometheus_client import Counter, Gauge

from models.platform import audit
from models.platform.clock import now
from models.platform.database import release, transaction
from models.platform.ids import parse_uuid
from models.platform.limits import Slot
from models.platform.settings import settings
from models.storage import comparison
from models.storage.buckets import Bucket
from models.storage.comparison import BATCH, Known
from models.storage.names import bucket_of, upload_key
from workers.gateways import storage
from workers.gateways.storage import Blob, BlobMissing, StorageUnavailable
from workers.jobs import STORAGE_RECONCILE
from workers.runtime import Lease, actor

log = logging.getLogger(__name__)
SYSTEM = "system:storage"
GRACE = timedelta(hours=1)
EXAMPLES = 10  # that an audit event names
KINDS = (
    "blob_missing",
    "blob_changed",
    "blob_orphan",
    "parts_orphan",
    "bucket_orphan",
    "bucket_missing",
    "bucket_unknown",
)

DRIFT = Counter("storage_drift_total", "Differences between our objects and the storage.", ["kind", "mended"])
RECONCILED = Gauge(
    "storage_reconciled_timestamp_seconds", "When the last comparison ended.", multiprocess_mode="mostrecent"
)
for _kind, _mended in itertools.product(KINDS, ("yes", "no")):
    DRIFT.labels(_kind, _mended)


@dataclass(frozen=True, slots=True)
class Finding:
    """`kind`: one of KINDS. `thing`: the key, if it is not the bucket itself. `mended`: whether all is right now.

    What cannot be mended: the bytes of a ready object that are gone or have another size, and a bucket with our prefix that
    we know nothing of.
    """

    kind: str
    bucket: str
    thing: str
    mended: bool


@dataclass
class Reconciliation:
    """One comparison of everything. `mend`: remove what belongs to nothing; otherwise only look."""

    mend: bool = True
    pause: Callable[[], None] = lambda: None  # called between two objects: may end the work by raising
    findings: list[Finding] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)  # buckets that could not be compared
    before: datetime = field(default_factory=lambda: now() - GRACE)

    def run(self) -> list[Finding]:
        """Raises QuotaExceeded if another one is under way, StorageUnavailable if the storage is away."""
        slot = Slot.take("storage_reconciliation", 1)
        try:
            there = set(storage.buckets())
            ours = list(Bucket.select().order_by(Bucket.name))
            release()
            for bucket in ours:
                if slot:
                    slot.renew()
                self._guarded(bucket, there)
            prefix, names = f"{settings.storage_bucket_prefix}-", {bucket.name for bucket in ours}
            for name in sorted(there - names):
                if name.startswith(prefix) and parse_uuid(name.removeprefix(prefix)):
                    self._found("bucket_unknown", name, "", mended=False)
        finally:
            if slot:
                slot.release()
            self._record()
        if self.failed:
            raise StorageUnavailable(f"{len(self.failed)} buckets could not be compared.")
        if self.mend:
            RECONCILED.set_to_current_time()
        return self.findings

    def _guarded(self, bucket: Bucket, there: set[str]) -> None:
        """What fails with one bucket is told at the end, and the others go on."""
        try:
            self._compare(bucket, is_there=bucket.name in there)
        except (StorageUnavailable, BlobMissing) as error:
            log.warning("storage.not_compared", extra={"bucket": bucket.name, "reason": error.code})
            self.failed.append(bucket.name)
        finally:
            release()

    def _compare(self, bucket: Bucket, *, is_there: bool) -> None:
        if bucket.made_at is None or bucket.made_at > self.before:
            return
        if not comparison.has_tenant(bucket):
            self._abandoned(bucket, is_there=is_there)
            return
        seen: set[int] = set()
        if is_there:
            self._parts(bucket)
            seen = self._blobs(bucket)
        else:
            self._bucket_missing(bucket)
        self._missing(bucket, seen)

    # ------------------------------------------------------------ what the storage has

    def _blobs(self, bucket: Bucket) -> set[int]:
        """Looks at all blobs of a bucket. Returns the ids of the objects whose bytes are there, as numbers."""
        seen: set[int] = set()
        for blobs in _batches(storage.blobs(bucket.name)):
            owners = [(blob, _owner(bucket, blob.key)) for blob in blobs]
            rows = comparison.known({owner for _, owner in owners if owner})
            release()
            for blob, owner in owners:
                self.pause()
                row = rows.get(owner) if owner else None
                if row is not None and row.is_ready and blob.key == row.object_key:
                    seen.add(row.id.int)
                    if blob.size != row.size_bytes:
                        self._found("blob_changed", bucket.name, blob.key, mended=False)
                elif blob.modified_at < self.before and not _is_expected(bucket, blob, row):
                    self._orphan(bucket.name, blob.key)
        return seen

    def _orphan(self, bucket: str, key: str) -> None:
        if self.mend:
            storage.remove(bucket, key)
        self._found("blob_orphan", bucket, key, mended=self.mend)

    def _parts(self, bucket: Bucket) -> None:
        """Uploads in parts that belong to no pending object."""
        for key, upload_id, began_at in list(storage.open_uploads(bucket.name)):
            owner = _owner(bucket, key)
            row = comparison.known({owner}).get(owner) if owner else None
            is_ours = row is not None and row.upload_id == upload_id and (row.is_pending or row.is_swept)
            if began_at < self.before and not is_ours:
                if self.mend:
                    storage.drop_parts(bucket.name, key, upload_id)
                self._found("parts_orphan", bucket.name, key, mended=self.mend)

    def _abandoned(self, bucket: Bucket, *, is_there: bool) -> None:
        """The bucket of a tenant that is gone: all that is old goes, and then, if nothing is left, the bucket."""
        if is_there and self.mend:
            left = 0
            for key, upload_id, _ in list(storage.open_uploads(bucket.name)):
                storage.drop_parts(bucket.name, key, upload_id)
            for blob in storage.blobs(bucket.name):
                self.pause()
                if blob.modified_at < self.before:
                    storage.remove(bucket.name, blob.key)
                else:
                    left += 1
            if left:
                self._found("bucket_orphan", bucket.name, "", mended=False)
                return
            storage.remove_bucket(bucket.name)
        if self.mend:
            Bucket.delete().where(Bucket.name == bucket.name).execute()
        self._found("bucket_orphan", bucket.name, "", mended=self.mend)

    # ------------------------------------------------------------ what we have

    def _missing(self, bucket: Bucket, seen: set[int]) -> None:
        """Objects that are ready and were not seen. Each is looked for once more: it may have come since."""
        for rows in comparison.ready_ones(bucket):
            release()
            for object_id, key in rows:
                self.pause()
                if object_id.int in seen:
                    continue
                try:
                    storage.stat(bucket.name, key)
                except BlobMissing:
                    row = comparison.known({object_id}).get(object_id)
                    if row is not None and row.is_ready:
                        self._found("blob_missing", bucket.name, key, mended=False)

    def _bucket_missing(self, bucket: Bucket) -> None:
        if self.mend:
            Bucket.update(made_at=None).where(Bucket.name == bucket.name).execute()  # the next upload makes it
        self._found("bucket_missing", bucket.name, "", mended=self.mend)

    # ------------------------------------------------------------ telling

    def _found(self, kind: str, bucket: str, thing: str, *, mended: bool) -> None:
        self.findings.append(Finding(kind, bucket, thing, mended))
        DRIFT.labels(kind, "yes" if mended else "no").inc()

    def _record(self) -> None:
        """One event for each kind and bucket, with some examples."""
        counts = Tally((found.kind, found.bucket, found.mended) for found in self.findings)
        with transaction():
            for (kind, bucket, mended), count in sorted(counts.items()):
                things = [found.thing for found in self.findings if (found.kind, found.bucket) == (kind, bucket)]
                details: dict[str, Any] = {
                    "kind": kind,
                    "count": count,
                    "mended": mended,
                    "examples": things[:EXAMPLES],
                }
                log.warning("storage.drift", extra={"kind": kind, "bucket": bucket, "count": count, "mended": mended})
                audit.record("storage.drift", SYSTEM, f"bucket:{bucket}", tenant_id=_tenant_of(bucket), **details)
        release()


def _is_expected(bucket: Bucket, blob: Blob, row: Known | None) -> bool:
    """Whether a blob that is no ready object's is on its way in, or is removed by another job anyway."""
    if row is None or row.bucket != bucket.name:
        return False
    if row.is_swept:
        return blob.key in (row.object_key, upload_key(bucket.tenant_id, row.id))
    return row.is_pending and blob.key in (row.object_key, upload_key(bucket.tenant_id, row.id))


def _owner(bucket: Bucket, key: str) -> UUID | None:
    """The object to which a key says that it belongs."""
    parts = key.removeprefix("uploads/").split("/")
    return parse_uuid(parts[1]) if len(parts) > 1 and parse_uuid(parts[0]) == bucket.tenant_id else None


def _tenant_of(bucket: str) -> UUID | None:
    tenant_id = parse_uuid(bucket.rpartition("-")[2])
    return tenant_id if tenant_id and bucket_of(tenant_id) == bucket else None


def _batches(blobs: Iterator[Blob]) -> Iterator[list[Blob]]:
    while batch := list(itertools.islice(blobs, BATCH)):
        yield batch


@actor(STORAGE_RECONCILE)
def reconcile(lease: Lease) -> None:
    """Nightly. What it finds is in the audit log and the metric."""
    if storage.status() != "unconfigured":
        Reconciliation(pause=lease.checkpoint).run()
