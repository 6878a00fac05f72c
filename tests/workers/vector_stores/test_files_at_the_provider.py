"""Files that the provider indexes: copied once, attached once, and detached, whatever goes wrong on the way."""

import pytest

from models.jobs.ledger import QUEUED, Job
from models.platform.clock import now
from models.platform.database import transaction
from models.platform.ids import uuid7
from models.runs.run import Run
from models.storage.objects import StorageObject
from models.vector_stores import attaching, keeping
from models.vector_stores.files import ProviderFile, VectorStoreFile
from models.vector_stores.stores import VectorStore
from tests.support.provider import run_job, work
from tests.support.vector_stores import attach, make_store, principal_of
from workers.gateways import openai_vector_stores as provider
from workers.jobs import FILE_ATTACH, FILE_DETACH, enqueue
from workers.storage.writing import store as write
from workers.vector_stores import files, reconciliation

UPLOAD, ATTACH = "POST /v1/files", "POST /v1/vector_stores/{store_id}/files"
TEXT = b"Cats purr, and they sleep all day."


@pytest.fixture
def store(at_provider, s3, tenant):
    made = make_store(tenant, engine="openai", next_sync_at=now())
    VectorStore.update(provider_id=provider.make(made).id).where(VectorStore.id == made.id).execute()
    return VectorStore.get_by_id(made.id)


@pytest.fixture
def stored(s3, tenant):
    return write(tenant.id, name="cats.md", data=TEXT, mime_type="text/markdown", source="test:1")


@pytest.fixture
def begin(tenant):
    """begin(store, file id) -> the row of a file whose job waits."""

    def make(store, file_id, **wish):
        attached = attach(tenant, store, file_id, **wish)
        with transaction():
            enqueue(FILE_ATTACH, run_id=attached.run.id, tenant_id=tenant.id, file_row_id=str(attached.file.id))
        return attached.file

    return make


def row(file):
    return VectorStoreFile.get_by_id(file.id)


def run_of(file):
    return Run.get_by_id(row(file).run_id)


def remote_files(library, store):
    return library.all(f"vector_stores/{store.provider_id}/files")


def test_an_object_is_copied_attached_and_indexed(begin, store, stored, library):
    strategy = {"type": "static", "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 50}}
    file = begin(store, stored.id, attributes={"year": 2024}, chunking_strategy=strategy)
    assert work() == 1
    (remote,), (copy,) = remote_files(library, store), library.all("files")
    assert (remote["id"], remote["attributes"]) == (copy["id"], {"year": 2024})
    assert remote["chunking_strategy"] == strategy
    done = row(file)
    assert (done.status, done.usage_bytes) == ("completed", remote["usage_bytes"]) and done.usage_bytes > 0
    assert VectorStore.get_by_id(store.id).usage_bytes == done.usage_bytes
    run = run_of(file)
    assert run.state == "succeeded" and run.terminal["is_terminal"] and run.started_at is not None
    assert ProviderFile.get().provider_file_id == copy["id"]


def test_one_copy_serves_all_stores(begin, store, stored, library, tenant):
    other = make_store(tenant, "other", engine="openai")
    VectorStore.update(provider_id=provider.make(other).id).where(VectorStore.id == other.id).execute()
    begin(store, stored.id), begin(other, stored.id)
    work()
    assert len(library.all("files")) == 1 and ProviderFile.select().count() == 1
    assert {file.status for file in VectorStoreFile.select()} == {"completed"}


@pytest.mark.parametrize("operation", [UPLOAD, ATTACH])
@pytest.mark.parametrize("kind", ["status", "lost"])
def test_whatever_is_away_is_tried_again_and_nothing_is_doubled(begin, store, stored, library, operation, kind):
    file = begin(store, stored.id)
    library.fault(operation, kind, status=500, times=1 if kind == "lost" else 3)
    for _ in range(4):
        work()
    assert (row(file).status, run_of(file).state) == ("completed", "succeeded")
    assert len(library.all("files")) == len(remote_files(library, store)) == 1


def test_a_worker_killed_after_the_copy_makes_no_second_one(begin, store, stored, library, monkeypatch):
    file = begin(store, stored.id)
    with monkeypatch.context() as patched:
        patched.setattr("workers.vector_stores.files._keep", dies)
        work()
    assert ProviderFile.select().count() == 0 and len(library.all("files")) == 1
    work()
    assert row(file).status == "completed" and len(library.all("files")) == 1


def dies(*_):
    raise RuntimeError("killed")


def test_a_file_that_cannot_be_indexed_says_why(begin, store, library, s3, tenant):
    broken = write(tenant.id, name="x.md", data=b"\xff\xfe\x00\x01", mime_type="text/markdown", source="test:2")
    file = begin(store, broken.id)
    work()
    failed, run = row(file), run_of(file)
    assert (failed.status, failed.error_code) == ("failed", "unsupported_file")
    assert failed.last_error == "The demo reads plain text only."
    assert (run.state, run.error_code) == ("failed", "unsupported_file")


def test_an_object_deleted_meanwhile(begin, store, stored):
    file = begin(store, stored.id)
    StorageObject.update(deleted_at=now(), status="deleted").execute()
    work()
    assert (row(file).status, row(file).error_code, run_of(file).state) == ("failed", "object_gone", "failed")


def test_a_store_that_is_still_being_made_is_waited_for(begin, store, stored):
    VectorStore.update(provider_id=None, status="creating").execute()
    file = begin(store, stored.id)
    work()
    assert (row(file).status, Job.get(Job.name == "file.attach").state) == ("in_progress", QUEUED)
    VectorStore.update(provider_id=store.provider_id, status="completed").execute()
    work()
    assert row(file).status == "completed"


def test_after_the_last_attempt_the_file_has_failed(begin, store, stored, library):
    file = begin(store, stored.id)
    Job.update(max_failures=1).execute()
    library.fault(ATTACH, status=503, times=3)
    work("file.attach")
    work("file.attach_fail")
    assert (row(file).status, row(file).error_code) == ("failed", "provider_unavailable")
    assert run_of(file).state == "failed"


def test_a_failed_file_is_indexed_again(begin, store, stored, library, tenant):
    file = begin(store, stored.id)
    work()
    remote = ProviderFile.get().provider_file_id
    library.tell(store=store.provider_id, file=remote, state="failed")
    run_job("vector_store.sync")
    assert row(file).status == "failed"
    again(tenant, store, file)
    work()
    assert (row(file).status, row(file).last_error, run_of(file).state) == ("completed", None, "succeeded")


def test_a_provider_that_takes_long_keeps_no_worker(begin, store, stored, library, tenant, monkeypatch):
    monkeypatch.setattr(files, "WAIT_SECONDS", 0.0)
    library.tell(indexing=60)
    file = begin(store, stored.id)
    for _ in range(2):
        work()
        assert (row(file).status, run_of(file).state) == ("in_progress", "running")
    library.tell(shift=90)
    work()
    assert (row(file).status, run_of(file).state) == ("completed", "succeeded")
    attached = again(tenant, store, file)  # it is detached there once, or its indexing would never end
    work()
    assert Run.get_by_id(attached.run.id).state == "running"
    library.tell(shift=180)
    work()
    assert Run.get_by_id(attached.run.id).state == "succeeded"


def test_a_provider_that_never_ends_is_given_up(begin, store, stored, library, monkeypatch):
    monkeypatch.setattr(files, "WAIT_SECONDS", 0.0)
    library.tell(indexing=60)
    file = begin(store, stored.id)
    work()
    Run.update(started_at=now() - files.LONGEST).where(Run.id == row(file).run_id).execute()
    work()
    assert (row(file).status, row(file).error_code) == ("failed", "provider_unavailable")


def again(tenant, store, file):
    principal = principal_of(tenant)
    guard = attaching.guard_of(principal, uuid7())
    attached = guard.begin(lambda: attaching.index_again(principal, store.id, str(file.id), guard))
    with transaction():
        args = {"file_row_id": str(file.id), "again": True}
        enqueue(FILE_ATTACH, run_id=attached.run.id, tenant_id=tenant.id, **args)
    return attached


def test_a_detached_file_goes_and_its_copy_stays_until_its_object_is_deleted(
    begin, store, stored, library, tenant, monkeypatch
):
    file = begin(store, stored.id)
    work()
    with transaction():
        detached = keeping.detach(principal_of(tenant), store.id, str(file.id))
        enqueue(FILE_DETACH, tenant_id=tenant.id, file_row_id=str(detached.file.id))
    library.fault("DELETE /v1/vector_stores/{store_id}/files/{file_id}", status=503, times=3)
    work()
    assert len(remote_files(library, store)) == 1
    work()
    assert remote_files(library, store) == [] and len(library.all("files")) == 1
    monkeypatch.setattr(reconciliation, "AT_WORK", -reconciliation.AT_WORK)
    run_job("vector_store.reconcile")
    assert len(library.all("files")) == 1
    StorageObject.update(deleted_at=now(), status="deleted").execute()
    run_job("vector_store.reconcile")
    assert library.all("files") == [] and not ProviderFile.select().exists()
