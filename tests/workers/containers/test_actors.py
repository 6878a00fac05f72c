"""The jobs of containers against the stand-in: nothing is lost or left behind, whatever fails when."""

import pytest

from models.containers import keeping, states
from models.containers.container import Container
from models.containers.keeping import Wish
from models.jobs.ledger import Job
from models.platform.database import transaction
from tests.support.containers import at_provider, reload
from tests.support.provider import run_job, work
from workers.jobs import CONTAINER_CREATE, CONTAINER_REMOVE, enqueue

CREATE, LIST, DELETE = "POST /v1/containers", "GET /v1/containers", "DELETE /v1/containers/{container_id}"


@pytest.fixture
def begin(library, person):
    """begin(...) -> a new container, whose job waits."""
    admin = person("admin")

    def make(name="work", **wish):
        with transaction():
            container = keeping.create(admin, Wish(name, **wish))
            args = {"container_id": str(container.id), "generation": container.generation}
            enqueue(CONTAINER_CREATE, tenant_id=container.tenant_id, **args)
        return container

    make.admin = admin
    return make


def delete(admin, container):
    with transaction():
        keeping.delete(admin, container.id)
        enqueue(CONTAINER_REMOVE, tenant_id=container.tenant_id, container_id=str(container.id))


def test_a_container_is_made_as_it_was_wished_for(library, begin):
    container = begin(memory_limit="4g", expires_after={"anchor": "last_active_at", "minutes": 7})
    work()
    row = reload(container)
    assert row.status == "running" and row.last_active_at and row.synced_at
    made = library.call("GET", f"containers/{row.provider_id}")
    assert (made["memory_limit"], made["expires_after"]["minutes"]) == ("4g", 7)


def test_a_container_whose_answer_was_lost_is_found_again(library, begin):
    container = begin()
    library.fault(CREATE, "lost", status=500)
    work()
    assert reload(container).status == "creating" and len(at_provider(library, container)) == 1
    work()
    assert reload(container).status == "running" and len(at_provider(library, container)) == 1


def test_a_worker_killed_between_the_provider_and_the_commit_leaves_nothing(library, begin, monkeypatch):
    container = begin()
    with monkeypatch.context() as patch:

        def killed(*_):
            raise SystemExit

        patch.setattr(states, "made", killed)
        with pytest.raises(SystemExit):
            work()
    Job.update(state="queued", lease_until=None).where(Job.name == "container.create").execute()
    work()
    assert reload(container).status == "running" and len(at_provider(library, container)) == 1


def test_a_container_deleted_while_it_was_being_made_is_removed(library, begin):
    container = begin()
    library.fault(CREATE, "lost", status=500)
    work()
    delete(begin.admin, container)
    work(), work()
    assert at_provider(library, container) == {}


def test_a_container_deleted_before_its_job_is_never_made(library, begin):
    container = begin()
    delete(begin.admin, container)
    work(), work()
    assert at_provider(library, container) == {} and reload(container).status == "deleted"


def test_a_container_deleted_between_the_answer_and_the_commit_is_removed(library, begin, monkeypatch):
    container = begin()
    made = states.made

    def late(row, found):
        with monkeypatch.context() as patch:
            patch.setattr(states, "made", made)
            Container.update(status="deleted", deleted_at=row.created_at).execute()
            return made(row, found)

    monkeypatch.setattr(states, "made", late)
    work()
    monkeypatch.undo()
    work()
    assert at_provider(library, container) == {}


@pytest.mark.parametrize(("status", "code"), [(400, "provider_rejected"), (401, "provider_authentication")])
def test_what_the_provider_refuses_has_failed_at_once(library, begin, status, code):
    container = begin()
    library.fault(CREATE, status=status)
    work()
    assert (reload(container).status, reload(container).error_code) == ("failed", code)
    assert Job.get(Job.name == "container.create").state == "succeeded"


def test_a_provider_that_is_away_is_asked_again_and_given_up_in_the_end(library, begin):
    container = begin()
    library.fault(CREATE, status=503, times=CONTAINER_CREATE.retries + 1)
    for _ in range(CONTAINER_CREATE.retries + 1):
        work("container.create")
        assert reload(container).status == "creating"
    work()
    assert (reload(container).status, reload(container).error_code) == ("failed", "provider_unavailable")


def test_deletion_goes_on_until_the_provider_is_there_again(library, begin):
    container = begin()
    work()
    library.fault(DELETE, status=503, times=3)  # the SDK asks three times
    delete(begin.admin, container)
    work()
    assert len(at_provider(library, container)) == 1 and reload(container).status == "deleted"
    work()
    assert at_provider(library, container) == {}
    assert run_job("container.remove", container_id=str(container.id)) == 1  # gone already is as good
    assert Job.select().where(Job.name == "container.remove", Job.state == "succeeded").count() == 2


def test_the_sync_notices_what_has_expired_and_keeps_nothing_alive(library, begin):
    short, long = begin("short", expires_after={"anchor": "last_active_at", "minutes": 5}), begin("long")
    work()
    used = reload(long).last_active_at
    library.tell(shift=6 * 60)
    Container.update(synced_at=None).execute()
    run_job("container.sync")
    assert (reload(short).status, reload(long).status) == ("expired", "running")
    assert reload(long).last_active_at == used


def test_what_the_provider_does_not_know_any_more_has_expired(library, begin):
    container = begin()
    work()
    library.call("DELETE", f"containers/{reload(container).provider_id}")
    assert run_job("container.refresh", container_id=str(container.id)) == 1
    assert reload(container).status == "expired"


def test_a_sync_ends_when_the_provider_is_away_and_says_so(library, begin):
    container = begin()
    work()
    Container.update(synced_at=None).execute()
    library.fault(LIST, status=503, times=3)
    run_job("container.sync")
    assert reload(container).status == "running" and reload(container).synced_at is None
    run_job("container.sync")
    assert reload(container).synced_at
