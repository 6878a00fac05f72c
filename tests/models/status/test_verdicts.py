"""What follows from results: incidents are opened and resolved, and operators have the last word."""

import threading
from datetime import timedelta

import pytest

from models.platform.clock import now
from models.platform.database import database, release, transaction
from models.status.incident_changes import add_update, open_incident, publish
from models.status.incidents import IN_PROGRESS, MAINTENANCE, MONITORING, RESOLVED, Incident, Update
from models.status.services import services
from models.status.verdicts import judge
from tests.support.probes import found

pytestmark = pytest.mark.usefixtures("clean")
OPERATOR = "user:1"


@pytest.fixture(autouse=True)
def counts(configure):
    configure(status_probe_failures=3, status_probe_recoveries=2, status_incident_drafts=False)


def verdict(key="api"):
    with transaction():
        return judge(services()[key])


def later(minutes):
    """Time passes: all that has happened is so much older."""
    for step in (timedelta(days=1000), -timedelta(days=1000, minutes=minutes)):  # no two are the same meanwhile
        database.execute_sql("update status_check set minute = minute + %s", (step,))
    columns = ("starts_at", "ended_at", "created_at", "published_at")
    moved = ", ".join(f"{column} = {column} - %(age)s" for column in columns)
    database.execute_sql(f"update status_incident set {moved}", {"age": timedelta(minutes=minutes)})


def opened():
    found("api", "good", "failed", "failed", "failed")
    verdict()
    return Incident.select().where(Incident.ended_at.is_null()).get()


def test_so_many_failures_in_a_row_open_one_incident():
    found("api", "failed", "failed", "good", "failed", "failed")
    assert verdict() is None
    later(1)
    found("api", "failed")
    update = verdict()
    incident = Incident.get()
    assert (incident.probe, incident.services, incident.state) == ("api", {"api": "incident"}, "investigating")
    assert incident.published_at is not None and update.notify and update.creator == "probe"
    assert timedelta(minutes=2) <= now() - incident.starts_at < timedelta(minutes=4), "it began with the first failure"
    assert verdict() is None and Incident.select().count() == 1
    assert verdict("chat") is None


def test_of_many_who_judge_one_opens_it():
    found("api", "failed", "failed", "failed")
    updates = []

    def work():
        updates.append(verdict())
        release()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([update for update in updates if update]) == 1 == Incident.select().count() == Update.select().count()


def test_the_public_is_not_told_what_operators_are():
    found("api", "failed", "failed", "failed", reason="connection to 10.1.2.3 refused")
    update, incident = verdict(), Incident.get()
    assert "10.1.2.3" not in update.text + incident.title + incident.impact


def test_successes_in_a_row_resolve_it():
    incident = opened()
    later(1)
    found("api", "good")
    assert verdict() is None
    later(1)
    found("api", "slow")
    update = verdict()
    assert (update.incident_id, update.state, update.notify) == (incident.id, RESOLVED, True)
    assert Incident.get().ended_at is not None
    assert verdict() is None


def test_drafts_wait_for_an_operator_and_are_closed_silently(configure):
    configure(status_incident_drafts=True)
    incident = opened()
    assert incident.published_at is None and not Update.get().notify
    later(2)
    found("api", "good", "good")
    assert verdict().notify is False
    assert Incident.get().ended_at is not None


def test_a_draft_that_was_published_is_resolved_for_all(configure):
    configure(status_incident_drafts=True)
    incident = opened()
    with transaction():
        publish(OPERATOR, incident.id)
    later(2)
    found("api", "good", "good")
    assert verdict().notify is True


def test_during_maintenance_nothing_is_opened():
    with transaction():
        open_incident(
            OPERATOR,
            title="New disks",
            impact="It is away.",
            services={"api": None},
            text="We begin.",
            kind=MAINTENANCE,
            state=IN_PROGRESS,
            until=now() + timedelta(hours=1),
        )
    found("api", "failed", "failed", "failed")
    assert verdict() is None
    found("chat", "failed", "failed", "failed")
    assert verdict("chat") is not None


def test_what_an_operator_has_told_already_is_not_told_again():
    with transaction():
        incident, _ = open_incident(OPERATOR, title="It is away", impact="All", services={"api": None}, text="Yes.")
    found("api", "failed", "failed", "failed")
    assert verdict() is None
    with transaction():
        add_update(OPERATOR, incident.id, text="It is over.", state=RESOLVED)
    assert verdict() is not None, "the operator's incident is over, and the probe still fails"


def test_the_draft_of_an_operator_does_not_keep_people_from_being_told():
    with transaction():
        open_incident(OPERATOR, title="It is away", impact="All", services={"api": None}, text="Yes.", publish=False)
    found("api", "failed", "failed", "failed")
    assert verdict() is not None


def test_a_probe_does_not_resolve_what_an_operator_took_over():
    incident = opened()
    with transaction():
        add_update(OPERATOR, incident.id, text="We watch it.", state=MONITORING)
    later(10)
    found("api", *["good"] * 9)
    assert verdict() is None
    assert Incident.get().ended_at is None


def test_a_probe_does_not_contradict_an_operator_who_has_ended_its_incident():
    incident = opened()
    with transaction():
        add_update(OPERATOR, incident.id, text="The probe is wrong.", state=RESOLVED)
    later(3)
    found("api", "failed", "failed", "failed")
    assert verdict() is None
    later(4)
    found("api", "good", "failed", "failed", "failed")
    assert verdict() is not None, "it has worked in between"


def test_a_service_that_comes_and_goes_is_one_long_incident():
    for wanted in (2, 4, 8):
        incident = opened()
        later(wanted)
        found("api", *["good"] * (wanted - 1))
        assert verdict() is None, f"{wanted} are wanted"
        later(1)
        found("api", "good")
        assert verdict().incident_id == incident.id
        later(4)
    later(180)
    incident = opened()
    later(2)
    found("api", "good", "good")
    assert verdict().incident_id == incident.id, "it has not failed for long"


def test_gaps_are_no_failures():
    found("api", "failed", "failed", until=now() - timedelta(minutes=20))
    found("api", "failed")
    assert verdict() is None
