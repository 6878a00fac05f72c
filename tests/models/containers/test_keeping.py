"""Containers and bindings as rows: limits that no crowd exceeds, and who may see what."""

import pytest

from models.auth.tenants import Tenant
from models.containers import bindings, keeping, states
from models.containers.bindings import ContainerBinding
from models.containers.container import Container, ContainerNotFound
from models.containers.keeping import (
    ContainerNameTaken,
    MemoryNotAllowed,
    ProviderFileNotFound,
    TooManyContainers,
    Wish,
)
from models.containers.states import Snapshot
from models.platform.audit import AuditEvent
from models.platform.clock import now
from models.platform.database import database, transaction
from models.platform.ids import uuid7
from tests.support.containers import make_container, reload
from tests.support.crowd import crowd


@pytest.fixture
def admin(person):
    return person("admin")


def create(principal, name="work", **wish):
    with transaction():
        return keeping.create(principal, Wish(name, **wish))


def step(change, *args):
    with transaction():
        return change(*args)


def attempt(principal, name):
    try:
        create(principal, name)
    except (ContainerNameTaken, TooManyContainers) as error:
        return error.code
    return "made"


def test_a_container_is_creating_until_the_provider_has_made_it(admin):
    container = create(admin, metadata={"a": 1}, expires_after={"anchor": "last_active_at", "minutes": 5})
    assert (container.status, container.memory_limit, container.provider_id) == ("creating", "1g", None)
    assert step(states.made, container, Snapshot("cntr_1", "running", now()))
    assert (reload(container).status, reload(container).provider_id) == ("running", "cntr_1")
    assert AuditEvent.get(AuditEvent.action == "container.created").subject == f"container:{container.id}"


def test_fifty_at_once_with_one_name_make_one(admin):
    answers = crowd(50, lambda _: attempt(admin, "same"))
    assert sorted(set(answers)) == ["container_name_taken", "made"] and answers.count("made") == 1


def test_fifty_at_once_do_not_exceed_the_limit(admin, configure):
    configure(container_max_containers_per_tenant=7)
    answers = crowd(50, lambda number: attempt(admin, f"c{number}"))
    assert answers.count("made") == 7 and answers.count("container_limit_reached") == 43


def test_a_deleted_container_frees_its_name_its_place_and_its_agents(admin, configure):
    configure(container_max_containers_per_tenant=1)
    first = create(admin)
    with transaction():
        bindings.bind(admin, "triage", first.id)
        keeping.delete(admin, first.id)
    assert bindings.container_of(admin.tenant_id, "triage") is None and not ContainerBinding.select().count()
    assert create(admin).id != first.id
    with pytest.raises(ContainerNotFound), transaction():
        keeping.delete(admin, first.id)


def test_what_cannot_be_made_is_refused_and_leaves_nothing(admin):
    for wish, error in (
        ({"memory_limit": "2g"}, MemoryNotAllowed),
        ({"file_ids": ["file-unknown"]}, ProviderFileNotFound),
    ):
        with pytest.raises(error):
            create(admin, **wish)
    assert not Container.select().count()


def test_only_files_of_the_same_tenant_can_be_in_it(admin):
    other = Tenant.create(slug="other", name="Other")
    add = "insert into provider_file (id, tenant_id, provider_file_id, filename) values (%s, %s, %s, 'a')"
    database.execute_sql(add, (uuid7(), other.id, "file-theirs"))
    database.execute_sql(add, (uuid7(), admin.tenant_id, "file-ours"))
    with pytest.raises(ProviderFileNotFound) as refused:
        create(admin, file_ids=["file-ours", "file-theirs"])
    assert refused.value.details == {"file_ids": ["file-theirs"]}
    assert create(admin, file_ids=["file-ours", "file-ours"]).file_ids == ["file-ours"]


def test_an_agent_has_one_container_and_a_container_many_agents(admin):
    first, second = create(admin, "first"), create(admin, "second")
    with transaction():
        for key, container in (("triage", first), ("triage", second), ("triage", second), ("data_analyst", second)):
            bindings.bind(admin, key, container.id)
    assert {row.agent_key: row.container_id for row in bindings.bindings(admin)} == dict.fromkeys(
        ("triage", "data_analyst"), second.id
    )
    with transaction():
        bindings.unbind(admin, "triage")
        bindings.unbind(admin, "triage")
    assert [row.agent_key for row in bindings.bindings(admin)] == ["data_analyst"]


def test_a_container_of_another_tenant_cannot_be_bound_deleted_or_seen(admin, person):
    other = Tenant.create(slug="other", name="Other")
    theirs = make_container(other)
    stranger = person("admin", tenant=other)
    with transaction():
        bindings.bind(stranger, "triage", theirs.id)
    for act in (lambda: bindings.bind(admin, "triage", theirs.id), lambda: keeping.delete(admin, theirs.id)):
        with pytest.raises(ContainerNotFound), transaction():
            act()
    with transaction():
        bindings.unbind(admin, "triage")
    assert bindings.bindings(admin) == [] and bindings.container_of(other.id, "triage").id == theirs.id


def test_bindings_and_deletion_at_once_leave_no_binding_of_a_deleted_container(admin):
    for _ in range(5):
        container = create(admin)

        def act(number, container=container):
            try:
                with transaction():
                    if number == 0:
                        keeping.delete(admin, container.id)
                    else:
                        bindings.bind(admin, f"agent{number}", container.id)
            except ContainerNotFound:
                return

        crowd(8, act)
        assert not ContainerBinding.select().where(ContainerBinding.container_id == container.id).count()


def test_of_fifty_who_find_a_container_gone_one_replaces_it(admin):
    container = create(admin)
    step(states.made, container, Snapshot("cntr_1", "running", now()))
    container = reload(container)
    begun = [row for row in crowd(50, lambda _: step(states.replace, container)) if row]
    assert len(begun) == 1 and begun[0].generation == 2 and begun[0].provider_id is None
    assert not step(
        states.made, container, Snapshot("cntr_late", "running", now())
    )  # an answer about the generation before
    assert step(states.made, begun[0], Snapshot("cntr_2", "running", now()))
    assert not step(states.refreshed, container, None) and reload(container).status == "running"


def test_the_provider_is_asked_once_a_minute_however_many_look(admin):
    container = create(admin)
    assert not step(states.claim_refresh, container)  # not made yet
    step(states.made, container, Snapshot("cntr_1", "running", now()))
    Container.update(synced_at=None).execute()
    container = reload(container)
    assert crowd(20, lambda _: step(states.claim_refresh, container)).count(True) == 1
