"""Stores at the provider: whatever goes wrong on the way, in the end our row and the provider agree."""

import pytest

from models.jobs.ledger import QUEUED, RUNNING, Job
from models.platform.database import transaction
from models.vector_stores import keeping
from models.vector_stores.keeping import Wish
from models.vector_stores.stores import VectorStore
from tests.support.provider import run_job, work
from tests.support.vector_stores import principal_of
from workers.gateways import openai_vector_stores as provider
from workers.jobs import VECTOR_STORE_CREATE, VECTOR_STORE_REMOVE, enqueue
from workers.vector_stores import reconciliation

CREATE, LIST = "POST /v1/vector_stores", "GET /v1/vector_stores"
DELETE = "DELETE /v1/vector_stores/{store_id}"
KEEP = {"anchor": "last_active_at", "days": 3}


@pytest.fixture
def create(at_provider, tenant):
    """create(name) -> the row of a new store, whose job waits."""

    def make(name="papers"):
        with transaction():
            store = keeping.create(principal_of(tenant), Wish(name, "All", KEEP, {"of": "us"}))
            enqueue(VECTOR_STORE_CREATE, tenant_id=store.tenant_id, store_id=str(store.id))
        return store

    return make


@pytest.fixture
def delete(tenant):
    def remove(store):
        with transaction():
            keeping.delete(principal_of(tenant), store.id)
            enqueue(VECTOR_STORE_REMOVE, tenant_id=store.tenant_id, store_id=str(store.id))

    return remove


def row(store):
    return VectorStore.get_by_id(store.id)


def killed(name):
    """The worker of the job that has just ended is dead instead: the next one begins it again."""
    Job.update(state=QUEUED, finished_at=None).where(Job.name == name).execute()


def test_a_store_is_made_and_deleted(create, delete, library):
    store = create()
    assert row(store).status == "creating"
    assert work("vector_store.create") == 1
    made = row(store)
    (remote,) = library.all()
    assert (made.status, made.provider_id, made.openai_id) == ("completed", remote["id"], remote["id"])
    assert made.expires_at.timestamp() == remote["expires_at"] and made.metadata == {"of": "us"}
    assert remote["metadata"]["longshore_store"] == str(store.id) and "of" not in remote["metadata"]
    delete(store)
    assert len(library.all()) == 1, "rows first"
    work("vector_store.remove")
    assert library.all() == [] and row(store).status == "deleted"


def test_a_provider_that_is_away_is_asked_again(create, library):
    store = create()
    library.fault(CREATE, status=503)
    work()
    assert row(store).status == "creating" and library.all() == []
    work()
    assert row(store).status == "completed" and len(library.all()) == 1


@pytest.mark.parametrize("times", [1, 2])
def test_an_answer_that_is_lost_makes_no_second_store(create, library, times):
    store = create()
    library.fault(CREATE, "lost", status=500)
    if times == 2:
        library.fault(LIST, status=503, times=3)  # the SDK tries three times
    for _ in range(times + 1):
        work()
    (remote,) = library.all()
    assert row(store).provider_id == remote["id"] and row(store).status == "completed"


def test_a_worker_killed_before_its_commit_leaves_nothing_behind(create, library, monkeypatch):
    store = create()
    with monkeypatch.context() as patched:
        patched.setattr("workers.vector_stores.stores._adopt", lambda *_: True)
        work()
    assert row(store).status == "creating" and len(library.all()) == 1
    killed("vector_store.create")
    work()
    assert [remote["id"] for remote in library.all()] == [row(store).provider_id]


def test_a_store_deleted_before_it_was_made_is_never_made(create, delete, library):
    store = create()
    delete(store)
    while work():
        pass
    assert library.all() == [] and row(store).status == "deleted"


def test_a_store_deleted_while_it_was_made_is_removed(create, delete, library, monkeypatch):
    store, make = create(), provider.make

    def slowly(wanted):
        remote = make(wanted)
        delete(store)
        return remote

    monkeypatch.setattr(provider, "make", slowly)
    while work():
        pass
    assert library.all() == []


def test_a_store_deleted_after_its_answer_was_lost_is_removed(create, delete, library):
    store = create()
    library.fault(CREATE, "lost", status=500)
    work("vector_store.create")
    delete(store)
    while work():
        pass
    assert library.all() == []


def test_a_store_that_is_refused_has_failed(create, library):
    store = create()
    library.fault(CREATE, status=400)
    work()
    assert row(store).status == "failed" and Job.get(Job.name == "vector_store.create").state == "succeeded"


def test_after_the_last_attempt_a_store_that_is_there_is_used(create, library):
    lost, never = create("lost"), create("never")
    Job.update(max_failures=1).execute()
    library.fault(CREATE, "lost", status=500)
    library.fault(CREATE, status=503)
    work("vector_store.create")
    assert {row(store).status for store in (lost, never)} == {"creating"}
    work("vector_store.create_fail")
    assert (row(lost).status, row(never).status) == ("completed", "failed")


def test_a_store_that_is_gone_remotely_can_be_deleted(create, delete, library):
    store = create()
    work()
    library.tell(forget=True)
    delete(store)
    work()
    assert Job.get(Job.name == "vector_store.remove").state == "succeeded"


def test_a_deletion_is_tried_until_the_provider_is_back(create, delete, library):
    store = create()
    work()
    delete(store)
    library.fault(DELETE, status=503, times=3)
    work()
    assert len(library.all()) == 1 and row(store).deleted_at is not None
    work()
    assert library.all() == []


def test_the_name_of_a_deleted_store_is_free_at_once(create, delete, library):
    first = create()
    work()
    delete(first)
    create()
    work("vector_store.create")
    assert len(library.all()) == 2
    work()
    assert len(library.all()) == 1


def test_what_nobody_knows_is_found_and_removed(create, library, tenant):
    kept, lost = create("kept"), create("lost")
    work()
    VectorStore.delete().where(VectorStore.id == lost.id).execute()  # as with its tenant
    library.call("POST", "vector_stores", name="not ours")
    assert reconciliation.find().is_clean, "what is young may still be written down"
    library_age = reconciliation.AT_WORK
    try:
        reconciliation.AT_WORK = -library_age
        found = reconciliation.find()
        assert len(found.stores) == 1
        assert run_job("vector_store.reconcile") == 1
    finally:
        reconciliation.AT_WORK = library_age
    assert {remote["name"] for remote in library.all()} == {"kept", "not ours"}
    assert row(kept).status == "completed"


@pytest.mark.parametrize("address", ["http://localhost:3000", "http://127.0.0.1:3000"])
def test_on_localhost_others_may_bear_the_same_mark_so_nothing_is_removed(
    create, library, configure, monkeypatch, address
):
    configure(app_public_url=address)
    made = create("another developer's")
    work()
    VectorStore.delete().where(VectorStore.id == made.id).execute()
    monkeypatch.setattr(reconciliation, "AT_WORK", -reconciliation.AT_WORK)
    assert run_job("vector_store.reconcile") == 1
    assert len(library.all()) == 1 and not reconciliation.find().is_clean


def test_no_job_is_left_running(create, library):
    create()
    work()
    assert not Job.select().where(Job.state == RUNNING).exists()
