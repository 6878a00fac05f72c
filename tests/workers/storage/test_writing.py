"""Objects that workers write, and read."""

import tempfile
import threading

import pytest

from models.platform.database import release
from models.platform.ids import uuid7
from models.storage.limits import FileTooLarge, StorageFull, TypeNotAllowed
from models.storage.objects import ConversationGone, StorageObject
from tests.support.storage import PNG, keys, object_by
from workers.gateways import storage
from workers.storage.reading import BlobDamaged, fetch
from workers.storage.writing import store


@pytest.fixture
def write(s3, tenant):
    def make(data=PNG, source="image:1:1", **more):
        return store(
            tenant.id, **{"name": "plot.png", "mime_type": "image/png", "data": data, "source": source, **more}
        )

    return make


def test_it_is_ready_at_once_and_can_be_read(write, person):
    row = write(creator_id=person().user_id, agent_key="analyst", metadata={"quality": "high"})
    assert (row.status, row.size_bytes, row.agent_key, row.metadata) == (
        "ready",
        len(PNG),
        "analyst",
        {"quality": "high"},
    )
    assert row.object_key == f"{row.tenant_id}/{row.id}/plot.png"
    with fetch(StorageObject.of_tenant(row.tenant_id, row.id)) as file:
        assert file.read() == PNG


def test_the_same_source_is_written_once(write, s3):
    first = write()
    assert write(b"something else").id == first.id
    assert keys(s3, first.bucket) == [first.object_key]
    StorageObject.update(status="deleted", deleted_at=first.created_at).execute()
    assert write().deleted_at is not None


def test_many_at_once_with_one_source_are_one_object(write, s3):
    found = []

    def attempt():
        found.append(write().id)
        release()

    threads = [threading.Thread(target=attempt) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(found) == 8 and len(set(found)) == 1
    assert StorageObject.select().count() == 1


def test_one_that_was_cut_off_before_its_bytes_is_finished_by_the_next_attempt(write, monkeypatch):
    def die(*_):
        raise SystemExit  # nothing of ours catches it, as nothing catches a kill

    with monkeypatch.context() as patched:
        patched.setattr(storage, "put", die)
        with pytest.raises(SystemExit):
            write()
    assert [row.status for row in StorageObject.select()] == ["pending_upload"]
    again = write(PNG + b"of another attempt")
    assert (again.status, StorageObject.select().count()) == ("ready", 1)
    with fetch(again) as file:
        assert file.read() == PNG + b"of another attempt"


def test_a_storage_that_is_away_leaves_nothing_that_looks_ready(write, configure, s3):
    configure(minio_endpoint="127.0.0.1:1")
    storage.forget()
    with pytest.raises(storage.StorageUnavailable):
        write()
    assert [row.status for row in StorageObject.select()] == ["pending_upload"]


def test_it_counts_against_the_bytes_of_the_tenant(write, configure):
    configure(storage_max_total_bytes=len(PNG) + 10)
    write()
    with pytest.raises(StorageFull) as failure:
        write(source="image:1:2")
    assert failure.value.details == {"limit_bytes": len(PNG) + 10, "used_bytes": len(PNG)}


def test_types_and_sizes_are_those_of_the_settings(write, configure):
    with pytest.raises(TypeNotAllowed):
        write(mime_type="image/svg+xml")
    configure(storage_max_file_mb=1)
    with pytest.raises(FileTooLarge):
        write(b"x" * (1024 * 1024 + 1))
    assert not StorageObject.select().exists()


def test_a_conversation_that_is_gone_gets_no_object(write):
    with pytest.raises(ConversationGone):
        write(conversation_id=uuid7())
    assert not StorageObject.select().exists()


@pytest.mark.parametrize("other", [b"x", PNG[:-1] + b"x", PNG + b"x"])
def test_other_bytes_than_those_that_were_verified_are_not_read(write, other):
    row = write()
    storage.put(row.bucket, row.object_key, other, "image/png")
    with pytest.raises(BlobDamaged):
        fetch(row)


def test_bytes_that_are_gone_are_missing(s3, tenant, person):
    with pytest.raises(storage.BlobMissing):
        fetch(object_by(person(), tenant))


def test_a_kill_while_an_object_is_read_leaves_no_file(write, monkeypatch, tmp_path):
    row = write()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    read = storage.BlobStream.read

    def look(*args):
        assert list(tmp_path.rglob("*")) == []  # what a kill now would leave
        return read(*args)

    monkeypatch.setattr(storage.BlobStream, "read", look)
    with fetch(row) as file:
        assert file.read() == PNG
