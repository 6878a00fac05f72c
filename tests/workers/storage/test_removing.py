"""What is deleted leaves the storage, and uploads that never came are dropped."""

import time
from datetime import timedelta
from types import SimpleNamespace

import pytest

from models.jobs.ledger import Job
from models.platform.clock import now
from models.platform.database import transaction
from models.storage.names import upload_key
from models.storage.objects import StorageObject
from tests.support.storage import keys, object_by, work
from workers.gateways import storage
from workers.jobs import STORAGE_REMOVE, STORAGE_SWEEP, enqueue
from workers.storage import removing


def sweep(**args):
    with transaction():
        job = enqueue(STORAGE_SWEEP, **args)
    work("storage.sweep")
    return Job.get_by_id(job.id)


def long_ago():
    return now() - timedelta(days=2)


def test_uploads_that_never_came_and_old_rejected_ones_go(uploaded, stored, bucket, s3, tenant):
    old, fresh, ready = uploaded(created_at=long_ago()), uploaded(), stored(created_at=long_ago())
    rejected = object_by(None, tenant, status="rejected", created_at=long_ago())
    assert sweep().state == "succeeded"
    states = {row.id: (row.status, row.blobs_removed_at is not None) for row in StorageObject.select()}
    assert states == {
        old.id: ("deleted", True),
        rejected.id: ("deleted", True),
        fresh.id: ("pending_upload", False),
        ready.id: ("ready", False),
    }
    assert keys(s3, bucket) == sorted([ready.object_key, upload_key(tenant.id, fresh.id)])


def test_parts_of_a_dropped_upload_go_too(bucket, tenant):
    key = "uploads/x/y"
    row = object_by(None, tenant, status="pending_upload", created_at=long_ago())
    upload_id = storage.open_parts(bucket, key := upload_key(tenant.id, row.id), "text/plain")
    StorageObject.update(upload_id=upload_id).execute()
    sweep()
    assert [found for found, _, _ in storage.open_uploads(bucket)] == []
    assert key


def test_a_storage_that_is_away_is_asked_again_and_nothing_is_forgotten(stored, bucket, s3, configure, tenant):
    row, endpoint = stored(status="deleted", deleted_at=now()), storage.client()._base_url.host
    configure(minio_endpoint="127.0.0.1:1")
    storage.forget()
    with transaction():
        enqueue(STORAGE_REMOVE, tenant_id=tenant.id, object_id=str(row.id))
    work("storage.remove")
    assert sweep().state == "queued"
    assert StorageObject.get().blobs_removed_at is None
    configure(minio_endpoint=endpoint)
    storage.forget()
    work("storage.remove")
    assert keys(s3, bucket) == [] and StorageObject.get().blobs_removed_at


def test_what_fails_with_one_object_does_not_hold_up_the_others(stored, bucket, s3, monkeypatch):
    rows = [stored(status="deleted", deleted_at=now()) for _ in range(3)]
    remove = storage.remove

    def failing(bucket, key):
        if key == rows[0].object_key:
            raise storage.StorageUnavailable
        remove(bucket, key)

    monkeypatch.setattr(storage, "remove", failing)
    assert sweep().state == "queued"
    assert keys(s3, bucket) == [rows[0].object_key]


def test_a_storage_that_does_not_answer_does_not_keep_a_thread(stored, monkeypatch):
    for _ in range(5):
        stored(status="deleted", deleted_at=now())
    clock, asked = time.monotonic, []

    def hang(bucket, key):
        asked.append(key)
        monkeypatch.setattr(removing, "time", SimpleNamespace(monotonic=lambda: clock() + 60 * len(asked)))
        raise storage.StorageUnavailable

    monkeypatch.setattr(storage, "remove", hang)
    assert sweep().state == "queued"
    assert len(asked) == 1
    assert StorageObject.select().where(StorageObject.blobs_removed_at.is_null()).count() == 5


@pytest.mark.parametrize("status", ["ready", "pending_upload"])
def test_what_is_not_deleted_is_not_removed(stored, bucket, s3, status):
    row = stored(status=status)
    with transaction():
        enqueue(STORAGE_REMOVE, tenant_id=row.tenant_id, object_id=str(row.id))
    work("storage.remove")
    sweep(tenant_id=row.tenant_id)
    assert keys(s3, bucket) == [row.object_key]
