"""Our rows follow the provider's stores."""

from datetime import timedelta

import pytest

from models.jobs.ledger import Job
from models.platform.audit import AuditEvent
from models.platform.clock import now
from models.platform.database import transaction
from models.vector_stores.files import ProviderFile, VectorStoreFile
from models.vector_stores.stores import VectorStore
from tests.support.crowd import crowd
from tests.support.provider import run_job, work
from tests.support.vector_stores import make_store
from workers.gateways import openai_vector_stores as provider
from workers.jobs import VECTOR_STORE_SYNC, enqueue
from workers.vector_stores import sync

RETRIEVE = "GET /v1/vector_stores/{store_id}"
LATER = timedelta(minutes=10)


@pytest.fixture
def synced(at_provider, tenant):
    """synced(days=None) -> a store that is at the provider, and due."""

    def make(name="papers", days=None):
        expires_after = days and {"anchor": "last_active_at", "days": days}
        store = make_store(tenant, name, engine="openai", expires_after=expires_after, next_sync_at=now())
        VectorStore.update(provider_id=provider.make(store).id).where(VectorStore.id == store.id).execute()
        return row(store)

    return make


def row(store):
    return VectorStore.get_by_id(store.id)


def due(store):
    VectorStore.update(next_sync_at=now()).where(VectorStore.id == store.id).execute()


def put(library, store, number, **columns):
    """A file that is at the provider and in its store, and our row of it."""
    made = library.http.post(
        "/v1/files",
        headers={"Authorization": "Bearer x"},
        files={"file": (f"{number}.md", b"some text")},
        data={"purpose": "assistants"},
    ).json()
    library.call("POST", f"vector_stores/{store.provider_id}/files", file_id=made["id"])
    ProviderFile.create(tenant_id=store.tenant_id, provider_file_id=made["id"], filename="x.md", size_bytes=9)
    return VectorStoreFile.create(
        tenant_id=store.tenant_id,
        vector_store_id=store.id,
        file_id=made["id"],
        filename="x.md",
        **{"status": "completed", "updated_at": now() - LATER, **columns},
    )


def test_times_and_sizes_are_taken_over(library, synced):
    store = synced(days=5)
    put(library, store, 1)
    library.tell(shift=100)
    run_job("vector_store.sync")
    found, remote = row(store), library.call("GET", f"vector_stores/{store.provider_id}")
    assert (found.status, found.usage_bytes) == ("completed", remote["usage_bytes"]) and remote["usage_bytes"] > 0
    assert found.expires_at.timestamp() == remote["expires_at"]
    assert found.last_active_at.timestamp() == remote["last_active_at"]
    assert found.next_sync_at > now() + timedelta(seconds=300), "what is complete is asked for more slowly"
    assert VectorStoreFile.get().usage_bytes > 0


def test_a_store_that_expires_there_expires_here_and_is_purged_if_so_set(library, synced, configure):
    store = synced(days=1)
    library.tell(shift=2 * 86_400)
    run_job("vector_store.sync")
    assert row(store).status == "expired" and row(store).deleted_at is None
    run_job("vector_store.expire")
    assert row(store).deleted_at is None
    configure(auto_purge_expired_vector_stores=True)
    library.fault("DELETE /v1/vector_stores/{store_id}", status=503, times=3)
    run_job("vector_store.expire")
    assert row(store).status == "deleted" and len(library.all()) == 1
    work(), work()
    assert library.all() == [], "a purge that failed is tried again"


def test_a_store_that_was_deleted_there_is_deleted_here(library, synced):
    store = synced()
    library.call("DELETE", f"vector_stores/{store.provider_id}")
    run_job("vector_store.sync")
    assert row(store).status == "deleted" and row(store).deleted_at is not None
    event = AuditEvent.get(AuditEvent.action == "vector_store.deleted")
    assert event.actor == "system:vector_stores" and event.tenant_id == store.tenant_id


def test_files_follow_also_more_than_a_page_of_them(library, synced):
    store = synced()
    rows = [put(library, store, number) for number in range(103)]
    failed, gone, oldest = rows[50], rows[60], rows[0]
    library.tell(store=store.provider_id, file=failed.file_id, state="failed")
    library.tell(store=store.provider_id, file=oldest.file_id, state="cancelled")
    library.call("DELETE", f"vector_stores/{store.provider_id}/files/{gone.file_id}")
    run_job("vector_store.sync")
    states = {one.id: one for one in VectorStoreFile.select()}
    assert (states[failed.id].status, states[failed.id].error_code) == ("failed", "unsupported_file")
    assert (states[gone.id].status, states[gone.id].error_code) == ("failed", "missing_at_provider")
    assert states[oldest.id].status == "cancelled"
    assert sum(one.status == "completed" for one in states.values()) == 100


def test_a_file_that_is_being_attached_is_left_to_its_run(library, synced):
    store = synced()
    young = put(library, store, 1, updated_at=now())
    busy = put(library, store, 2, status="in_progress")
    for one in (young, busy):
        library.call("DELETE", f"vector_stores/{store.provider_id}/files/{one.file_id}")
    run_job("vector_store.sync")
    assert VectorStoreFile.get_by_id(young.id).status == "completed"
    assert VectorStoreFile.get_by_id(busy.id).status == "in_progress"


def test_of_two_jobs_at_once_each_store_is_asked_for_by_one(library, synced, monkeypatch):
    stores, asked = [synced(str(number)) for number in range(6)], []
    monkeypatch.setattr(sync, "sync", lambda store: asked.append(store.id))

    def act(_):
        from models.platform.settings import settings

        with settings.override(vector_store_sync_batch_size=2):
            while found := sync._take():
                for store in found:
                    sync.sync(store)

    crowd(4, act)
    assert sorted(asked) == sorted(store.id for store in stores)


def test_a_store_that_cannot_be_asked_for_waits_longer_each_time_and_delays_no_other(library, synced):
    stores = [synced("one"), synced("other")]
    library.fault(RETRIEVE, status=503, times=3)
    run_job("vector_store.sync")
    good, bad = sorted(map(row, stores), key=lambda store: store.sync_failures)
    assert (bad.sync_failures, good.sync_failures) == (1, 0) and bad.next_sync_at > now() + timedelta(seconds=60)
    assert good.next_sync_at > now() + timedelta(seconds=300)
    due(bad)
    library.fault(RETRIEVE, status=503, times=3)
    run_job("vector_store.sync")
    assert row(bad).sync_failures == 2 and row(bad).next_sync_at > now() + timedelta(seconds=180)
    due(bad)
    run_job("vector_store.sync")
    assert row(bad).sync_failures == 0


def test_a_sync_that_is_slow_is_not_joined_by_those_of_the_next_minutes(library, synced):
    store = synced()
    with transaction():
        earlier = enqueue(VECTOR_STORE_SYNC)
    earlier = Job.claim(earlier.id, "another worker", 60)
    run_job("vector_store.sync")
    assert row(store).next_sync_at == store.next_sync_at
    with transaction():
        earlier.finish()
    run_job("vector_store.sync")
    assert row(store).next_sync_at > store.next_sync_at


def test_it_can_be_switched_off(library, synced, configure):
    store = synced()
    configure(enable_vector_store_sync_worker=False)
    run_job("vector_store.sync")
    assert row(store).next_sync_at == store.next_sync_at


def test_our_own_stores_expire_without_the_provider(clean, tenant):
    past = now() - timedelta(seconds=1)
    over, living = make_store(tenant, "over", expires_at=past), make_store(tenant, "living", expires_at=now() + LATER)
    remote = make_store(tenant, "remote", engine="openai", expires_at=past)
    run_job("vector_store.expire")
    assert (row(over).status, row(living).status) == ("expired", "completed")
    assert row(remote).status == "completed", "the provider may know of a later use"
