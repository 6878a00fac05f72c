"""The comparison of our objects with the storage finds what was planted, both ways, and leaves alone what is on its way."""

from datetime import timedelta

import pytest

from models.auth.tenants import Tenant
from models.platform.audit import AuditEvent
from models.platform.clock import now
from models.platform.ids import uuid7
from models.storage.buckets import Bucket
from models.storage.names import upload_key
from models.storage.objects import StorageObject
from tests.support.storage import keys, object_by
from workers.gateways import storage
from workers.storage.commands import main
from workers.storage.reconciliation import Reconciliation


@pytest.fixture
def compare(s3):
    """compare(mend=True, later=True) -> {(kind, thing)} of the tenants' buckets; `later`: all blobs are old by now."""

    def run(mend=True, later=True):
        found = Reconciliation(mend=mend)
        found.before = now() + timedelta(minutes=1) if later else found.before
        ours = {bucket.name for bucket in Bucket.select()}
        return {(one.kind, one.thing) for one in found.run() if one.bucket in ours}

    return run


def test_what_is_right_is_left_alone(compare, stored, uploaded, bucket, s3, tenant):
    stored()
    uploaded()
    written = stored(status="pending_upload")  # by a worker that has not said so yet
    waiting = stored(status="deleted", deleted_at=now())  # its bytes are removed by a job
    row = object_by(None, tenant, status="pending_upload")
    upload_id = storage.open_parts(bucket, upload_key(tenant.id, row.id), "text/plain")
    StorageObject.update(upload_id=upload_id).where(StorageObject.id == row.id).execute()
    before = keys(s3, bucket)
    assert compare() == set()
    assert keys(s3, bucket) == before and {written.object_key, waiting.object_key} < set(before)
    assert [found for _, found, _ in storage.open_uploads(bucket)] == [upload_id]


def test_planted_blobs_go_and_young_ones_do_not(compare, stored, bucket, s3, tenant):
    ready = stored()
    planted = [
        "stray",
        f"{tenant.id}/{uuid7()}/x.txt",
        f"{uuid7()}/{ready.id}/x.txt",
        f"{tenant.id}/{ready.id}/other-name",
        upload_key(tenant.id, ready.id),  # put there again after it was verified
        stored(status="deleted", deleted_at=now(), blobs_removed_at=now()).object_key,
    ]
    for key in planted:
        storage.put(bucket, key, b"x", "text/plain")
    assert compare(later=False) == set()
    expected = {("blob_orphan", key) for key in planted}
    assert compare(mend=False) == expected
    assert len(keys(s3, bucket)) == 7
    assert compare() == expected
    assert keys(s3, bucket) == [ready.object_key]
    [event] = AuditEvent.select().where(AuditEvent.action == "storage.drift", AuditEvent.details["mended"] == "true")
    assert (event.tenant_id, event.details["count"]) == (tenant.id, 6)
    assert compare() == set()


def test_parts_that_belong_to_nothing_are_given_up(compare, bucket, tenant):
    storage.open_parts(bucket, upload_key(tenant.id, uuid7()), "text/plain")
    storage.open_parts(bucket, "stray", "text/plain")
    assert compare(later=False) == set()
    assert {kind for kind, _ in compare()} == {"parts_orphan"}
    assert list(storage.open_uploads(bucket)) == []


def test_bytes_that_are_gone_or_changed_are_told_and_the_rows_stay(compare, stored, bucket, tenant):
    gone, changed, right = stored(), stored(), stored()
    storage.remove(bucket, gone.object_key)
    storage.put(bucket, changed.object_key, b"longer than before", "text/plain")
    expected = {("blob_missing", gone.object_key), ("blob_changed", changed.object_key)}
    assert compare() == compare() == expected
    assert {row.id for row in StorageObject.select().where(StorageObject.status == "ready")} == {
        gone.id,
        changed.id,
        right.id,
    }


def test_the_bucket_of_a_tenant_that_is_gone_goes(compare, stored, uploaded, bucket, s3, tenant):
    stored()
    uploaded()
    Tenant.delete().where(Tenant.id == tenant.id).execute()
    assert not StorageObject.select().exists()
    assert compare(later=False) == {("bucket_orphan", "")}
    assert len(keys(s3, bucket)) == 2, "perhaps somebody is just restoring it"
    assert compare(mend=False) == compare() == {("bucket_orphan", "")}
    assert not s3.bucket_exists(bucket) and not Bucket.select().exists()


def test_a_bucket_that_is_gone_is_told_and_made_again_by_the_next_upload(compare, stored, bucket, s3):
    row = stored()
    storage.remove(bucket, row.object_key)
    s3.remove_bucket(bucket)
    assert compare() == {("bucket_missing", ""), ("blob_missing", row.object_key)}
    assert Bucket.get().made_at is None


def test_a_bucket_that_is_not_ours_is_not_touched(s3, clean):
    name = f"agent-data-{uuid7().hex}"
    s3.make_bucket(name)
    storage.put(name, "x", b"x", "text/plain")
    found = Reconciliation()
    found.before = now() + timedelta(minutes=1)
    assert ("bucket_unknown", name, False) in {(one.kind, one.bucket, one.mended) for one in found.run()}
    assert keys(s3, name) == ["x"]
    s3.remove_object(name, "x")
    s3.remove_bucket(name)


def test_the_command_prints_what_it_finds(stored, bucket, capsys, configure, s3, tenant):
    row = stored()
    storage.remove(bucket, row.object_key)
    assert main(["reconcile", "--dry-run"]) == 1
    assert f"open    blob_missing    {bucket}  {row.object_key}" in capsys.readouterr().out
    configure(minio_endpoint="127.0.0.1:1")
    storage.forget()
    assert main(["reconcile"]) == 2
    assert "cannot be reached" in capsys.readouterr().err


def test_the_origins_of_pages_are_told_to_the_storage(bucket, configure, capsys):
    from tests.support.storage import WEB

    configure(allowed_origins="https://app.example.com")
    assert main(["cors"]) == 0
    url = storage.presigned_put(bucket, "x", size=1, mime_type="text/plain", seconds=60)
    asks = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "content-type"}
    for origin, status in (("https://app.example.com", 200), ("https://evil.example.com", 403)):
        assert WEB.request("OPTIONS", url, headers={"Origin": origin, **asks}).status == status
    configure(allowed_origins="")  # what was said before no longer holds: the storage's own default does
    assert main(["cors"]) == main(["cors"]) == 0
    assert WEB.request("OPTIONS", url, headers={"Origin": "https://evil.example.com", **asks}).status == 200
