"""Verifying uploads, whatever happens meanwhile."""

import pytest

from models.jobs.ledger import Job
from models.platform.database import transaction
from models.storage import uploads
from models.storage.names import upload_key
from models.storage.objects import StorageObject
from tests.support.storage import keys, work
from workers.gateways import storage
from workers.jobs import STORAGE_VERIFY, enqueue
from workers.storage import verifying


def look_for(row):
    with transaction():
        job = enqueue(STORAGE_VERIFY, tenant_id=row.tenant_id, object_id=str(row.id))
        uploads.searched_by(row.id, job.id)
    return job.id


def now_of(row):
    return StorageObject.get_by_id(row.id)


class Killed(BaseException):
    """Nothing of ours catches it, as nothing catches a kill."""


@pytest.mark.parametrize("at", ["copy", "publish", "_inspect", "_tidy"])
def test_killed_at_any_moment_it_is_done_by_the_next_attempt(uploaded, bucket, s3, monkeypatch, at):
    row = uploaded()
    job_id = look_for(row)
    home = {"copy": storage, "publish": uploads}.get(at, verifying)
    act = getattr(home, at)

    def die(*args, **options):
        if at != "publish":
            act(*args, **options)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(home, at, die)
        with pytest.raises(Killed):
            work("storage.verify")
    is_over = at == "_tidy"
    assert (now_of(row).status == "ready") is is_over
    # Its lease is over, and the next worker claims it.
    Job.update(state="queued").where((Job.id == job_id) & (Job.state == "running")).execute()
    assert work("storage.verify") == (0 if is_over else 1)
    assert now_of(row).status == "ready"
    assert row.object_key in keys(s3, bucket)
    with storage.get(bucket, row.object_key) as stream:
        assert stream.read() == b"hello"


def test_a_worker_that_wakes_up_late_changes_nothing(uploaded, bucket, tenant, monkeypatch):
    row = uploaded()
    look_for(row)
    copy = storage.copy

    def overtaken(*args, etag):
        """While this one sleeps, another worker verifies the upload, and a client overwrites it."""
        monkeypatch.setattr(storage, "copy", copy)
        Job.update(state="queued").execute()
        assert work("storage.verify") == 1 and now_of(row).status == "ready"
        storage.put(bucket, upload_key(tenant.id, row.id), b"<html", "text/plain")
        copy(*args, etag=etag)

    monkeypatch.setattr(storage, "copy", overtaken)
    work("storage.verify")
    assert now_of(row).status == "ready"
    with storage.get(bucket, row.object_key) as stream:
        assert stream.read() == b"hello"


def test_a_later_job_takes_over(uploaded):
    row = uploaded()
    first = look_for(row)
    second = look_for(row)
    assert work("storage.verify") == 2
    assert now_of(row).verify_job_id == second != first
    assert now_of(row).status == "ready"


def test_overwritten_between_looking_and_copying_it_is_looked_at_again(uploaded, bucket, tenant, monkeypatch):
    row = uploaded()
    job_id = look_for(row)
    stat = storage.stat

    def overwritten(*args):
        found = stat(*args)
        storage.put(bucket, upload_key(tenant.id, row.id), b"HELLO", "text/plain")
        return found

    with monkeypatch.context() as patched:
        patched.setattr(storage, "stat", overwritten)
        work("storage.verify")
    assert (now_of(row).status, Job.get_by_id(job_id).state) == ("pending_upload", "queued")
    work("storage.verify")
    assert now_of(row).status == "ready"
    with storage.get(bucket, row.object_key) as stream:
        assert stream.read() == b"HELLO"


def test_a_storage_that_is_away_is_tried_again(uploaded, configure, s3):
    row, endpoint = uploaded(), storage.client()._base_url.host
    job_id = look_for(row)
    configure(minio_endpoint="127.0.0.1:1")
    storage.forget()
    work("storage.verify")
    assert (Job.get_by_id(job_id).state, now_of(row).status) == ("queued", "pending_upload")
    configure(minio_endpoint=endpoint)
    storage.forget()
    work("storage.verify")
    assert now_of(row).status == "ready"


def test_nothing_is_done_for_what_is_gone(uploaded):
    row = uploaded()
    look_for(row)
    StorageObject.delete().execute()
    assert work("storage.verify") == 1
