"""The snapshot: what it shows, how seldom it is built, and what is shown while Postgres or Redis is away."""

import threading
from datetime import timedelta

import peewee
import pytest

from models.platform.clock import now
from models.platform.database import transaction
from models.platform.redis import fast_redis_client
from models.platform.settings import settings
from models.status import incident_changes as changes
from models.status import snapshot
from models.status.snapshot import StatusUnavailable, current
from tests.support.crowd import crowd

HOUR = timedelta(hours=1)
pytestmark = pytest.mark.usefixtures("clean")


@pytest.fixture
def builds(monkeypatch):
    """The snapshots that were built since."""
    built, build = [], snapshot.build

    def counted(last):
        built.append(build(last))
        return built[-1]

    monkeypatch.setattr(snapshot, "build", counted)
    return built


@pytest.fixture
def away(monkeypatch):
    def fail(_):
        raise peewee.OperationalError("the server is away")

    return lambda: monkeypatch.setattr(snapshot, "_built", fail)


def open_one(**values):
    given = {"title": "Slow answers", "impact": "Answers take long.", "services": {"api": None}, "text": "We look."}
    with transaction():
        return changes.open_incident("operator:jo", **(given | values))[0]


def add(incident, **values):
    with transaction():
        return changes.add_update("operator:jo", incident.id, **values)


def again(monkeypatch):
    """A snapshot that is not from memory."""
    with monkeypatch.context() as patch:
        patch.setattr(settings, "status_cache_seconds", 0)
        snapshot.forget()
        return current()


def by_key(found):
    return {service.key: service for service in found.services}


def test_a_new_installation_has_services_and_knows_nothing_of_them():
    found = current()
    api = by_key(found)["api"]
    assert (api.name, api.status, api.uptime, api.last_incident_at) == ("API", "unknown", None, None)
    assert [day.state for day in api.days] == ["unknown"] * 90
    assert api.days[-1].date == found.generated_at.date()
    assert found.overview.state == "Not checked at present"
    assert (found.incidents, found.maintenances) == ((), ())
    assert {metric.value for metric in found.uptime_metrics} == {"no data"}


def test_an_incident_is_shown_with_its_updates_until_it_ends(monkeypatch):
    incident = open_one()
    add(incident, state="identified", text="It is a disk.")
    found = current()
    shown = found.incidents[0]
    assert (shown.slug, shown.service, shown.is_open, shown.state) == (incident.slug, "API", True, "identified")
    assert [update.text for update in shown.updates] == ["It is a disk.", "We look."]
    assert (found.overview.status, found.overview.state) == ("incident", "Service disruption")
    assert found.overview.description == "Something does not work. Affected: API."
    assert by_key(found)["api"].days[-1].incidents == 1
    assert by_key(found)["api"].last_incident_at == incident.starts_at
    add(incident, state="resolved", text="Done.")
    ended = again(monkeypatch)
    assert (ended.incidents[0].is_open, by_key(ended)["api"].status) == (False, "unknown")


def test_the_worst_of_several_is_the_status_and_open_ones_come_first():
    old = open_one(title="Old", starts_at=now() - 3 * HOUR, severity="minor")
    open_one(title="New", starts_at=now() - HOUR, services={"api": None, "mail": "degraded"}, severity="critical")
    add(open_one(title="Gone", services={"chat": None}), state="resolved", text="Done.")
    found = current()
    assert [each.title for each in found.incidents] == ["New", "Old", "Gone"]
    assert by_key(found)["api"].status == "incident"
    assert by_key(found)["mail"].status == "degraded"
    assert found.overview.state == "Major outage"
    assert old.severity == "minor"


def test_drafts_are_not_shown_but_those_of_probes_show_in_the_status():
    open_one(title="Secret", publish=False, services={"mail": None})
    open_one(title="Secret too", publish=False, services={"chat": None}, probe="chat")
    found = current()
    assert found.incidents == ()
    assert (by_key(found)["mail"].status, by_key(found)["chat"].status) == ("unknown", "incident")


def test_maintenance_counts_once_it_has_begun(monkeypatch):
    ahead = open_one(kind="maintenance", starts_at=now() + HOUR, until=now() + 2 * HOUR)
    assert by_key(current())["api"].status == "unknown"
    add(ahead, state="in_progress", text="We begin.")
    found = again(monkeypatch)
    assert (by_key(found)["api"].status, found.overview.state) == ("maintenance", "Maintenance in progress")
    assert found.maintenances[0].slug == ahead.slug
    assert by_key(found)["api"].days[-1].incidents == 0


def test_it_changes_when_its_story_does(monkeypatch):
    first = current()
    second = again(monkeypatch)
    assert second.generated_at > first.generated_at
    assert second.changed_at == first.changed_at == second.overview.updated_at
    open_one()
    third = again(monkeypatch)
    assert third.changed_at == third.generated_at


def test_a_crowd_has_it_built_once(builds):
    found = crowd(50, lambda _: current())
    assert len(builds) == 1
    assert {each.generated_at for each in found} == {builds[0].generated_at}


def test_another_process_takes_what_the_first_has_built(builds):
    first = current()
    snapshot.forget()
    assert current() == first
    assert len(builds) == 1


def test_while_another_process_builds_the_old_one_is_shown(builds, monkeypatch):
    first = current()
    snapshot.forget()
    monkeypatch.setattr(snapshot, "now", lambda: first.generated_at + HOUR)
    fast_redis_client().set(snapshot.BUILDER, "1")
    assert current() == first
    fast_redis_client().delete(snapshot.BUILDER)
    snapshot.forget()
    assert current() != first
    assert len(builds) == 2


def test_while_postgres_is_away_the_last_one_is_shown_with_its_age(away, monkeypatch):
    first = current()
    away()
    assert again(monkeypatch) == first
    with monkeypatch.context() as patch:
        patch.setattr(settings, "status_cache_seconds", 0)
        assert current() == first


def test_without_any_a_crowd_is_refused_at_once(away, builds):
    away()

    def refused(_):
        with pytest.raises(StatusUnavailable) as refusal:
            current()
        return refusal.value.status

    assert crowd(20, refused) == [503] * 20


def test_without_redis_each_process_builds_its_own(builds, monkeypatch):
    import redis

    class Away:
        def __getattr__(self, name):
            def fail(*_, **__):
                raise redis.ConnectionError("away")

            return fail

    monkeypatch.setattr(snapshot, "fast_redis_client", Away)
    first = current()
    assert current() == first
    snapshot.forget()
    current()
    assert len(builds) == 2


def test_what_another_version_has_stored_is_not_believed(builds):
    fast_redis_client().set(snapshot.KEY, b'{"generated_at": 1}')
    current()
    assert len(builds) == 1


def test_while_postgres_does_not_answer_nobody_waits_for_long(monkeypatch, configure):
    first = current()
    free = threading.Event()
    monkeypatch.setattr(snapshot, "_built", lambda _: free.wait(30) and first)
    monkeypatch.setattr(snapshot, "WAIT_SECONDS", 0.01)
    configure(status_cache_seconds=0)
    try:
        snapshot.forget()
        fast_redis_client().delete(snapshot.KEY)
        for _ in range(2):
            with pytest.raises(StatusUnavailable):
                current()
        snapshot._hold(first, 0)
        assert [current() for _ in range(3)] == [first] * 3
    finally:
        free.set()
        snapshot._held.renewal.join()


def test_a_fault_of_ours_is_logged_and_the_old_one_stays(monkeypatch, caplog):
    first = current()
    monkeypatch.setattr(snapshot, "_built", lambda _: 1 / 0)
    snapshot._hold(first, 0)
    monkeypatch.setattr(snapshot, "now", lambda: first.generated_at + HOUR)
    assert current() == first
    assert "status.snapshot_crashed" in caplog.text
