"""Incidents: how they are opened, told and ended, by whom, and what is refused."""

from datetime import UTC, datetime, timedelta

import pytest

from models.platform.audit import AuditEvent
from models.platform.clock import now
from models.platform.database import transaction
from models.platform.ids import uuid7
from models.status import incident_changes as changes
from models.status.incident_changes import IncidentChanged, IncidentEnded, IncidentInvalid, IncidentIsPublished
from models.status.incidents import Incident, IncidentNotFound, Update
from models.status.services import UnknownService
from models.status.slugs import candidates
from tests.support.crowd import crowd

HOUR = timedelta(hours=1)
pytestmark = pytest.mark.usefixtures("clean")


def do(act, *args, by="operator:jo", **values):
    with transaction():
        return act(by, *args, **values)


def opened(**values):
    given = {"title": "Slow answers", "impact": "Answers take long.", "services": {"api": None}, "text": "We look."}
    return do(changes.open_incident, **(given | values))


def planned(**values):
    times = {"starts_at": now() + HOUR, "until": now() + 2 * HOUR}
    return opened(kind="maintenance", **(times | values))


def test_an_incident_from_its_beginning_to_its_end():
    incident, first = opened(severity="minor", starts_at=datetime(2026, 3, 1, 23, tzinfo=UTC))
    assert incident.slug == "api-slow-answers-2026-03-01"
    assert (incident.state, incident.services) == ("investigating", {"api": "degraded"})
    assert (first.state, first.notify, first.creator) == ("investigating", True, "operator:jo")
    second = do(changes.add_update, incident.id, state="monitoring", text="Better.", notify=False, severity="major")
    assert (second.state, second.notify) == ("monitoring", False)
    do(
        changes.add_update,
        by="probe",
        incident_id=incident.id,
        state="investigating",
        text="Worse again.",
        services={"api": "incident"},
    )
    do(changes.add_update, incident.id, state="resolved", text="Done.")
    ended = Incident.get_by_id(incident.id)
    assert (ended.state, ended.severity, ended.version, ended.ended_at is not None) == ("resolved", "major", 4, True)
    with pytest.raises(IncidentEnded):
        do(changes.add_update, incident.id, text="One more.")
    story = AuditEvent.newest(
        actor=None, subject=f"status_incident:{incident.slug}", action=None, tenant_id=None, limit=9
    )
    assert [each.action for each in story] == ["status.update_added"] * 3 + ["status.incident_opened"]


def test_nobody_is_told_of_a_draft_until_it_is_published():
    incident, first = opened(publish=False)
    assert not first.notify
    assert not do(
        changes.add_update, by="probe", incident_id=incident.id, state="resolved", text="It is fine again."
    ).notify
    told = do(changes.publish, incident.id)
    assert (told.text, told.notify) == ("It is fine again.", True)
    with pytest.raises(IncidentIsPublished):
        do(changes.publish, incident.id)
    with pytest.raises(IncidentIsPublished):
        do(changes.discard, incident.id)


def test_a_draft_can_be_discarded():
    incident, _ = opened(publish=False)
    do(changes.discard, incident.id, versions=[1])
    assert not Update.select().where(Update.incident_id == incident.id).exists()
    with pytest.raises(IncidentNotFound):
        do(changes.discard, incident.id)


def test_maintenance_that_is_ahead_is_scheduled_and_other_maintenance_has_begun():
    ahead, _ = planned()
    begun, _ = planned(starts_at=now() - HOUR)
    assert (ahead.state, begun.state) == ("scheduled", "in_progress")
    assert (ahead.severity, ahead.services) == ("maintenance", {"api": "maintenance"})
    do(changes.change, ahead.id, until=now() + 3 * HOUR)
    with pytest.raises(IncidentInvalid, match="cannot be moved"):
        do(changes.change, begun.id, starts_at=now())
    with pytest.raises(IncidentInvalid, match="not scheduled any more"):
        do(changes.add_update, begun.id, state="scheduled", text="Later.")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"title": " \x00 "}, "title is empty"),
        ({"title": "x" * 201}, "more than 200"),
        ({"impact": ""}, "impact is empty"),
        ({"text": "x" * 5001}, "more than 5000"),
        ({"severity": "huge"}, "severity of this kind"),
        ({"severity": "maintenance"}, "severity of this kind"),
        ({"state": "resolved"}, "has not ended"),
        ({"state": "scheduled"}, "state of this kind"),
        ({"services": {}}, "at least one service"),
        ({"services": {"api": "maintenance"}}, "cannot be 'maintenance'"),
        ({"until": now() + HOUR}, "Only maintenance"),
        ({"starts_at": now() + HOUR}, "has begun already"),
        ({"kind": "maintenance"}, "has an `until`"),
        ({"kind": "maintenance", "until": now() - HOUR}, "has an `until`"),
        ({"kind": "maintenance", "starts_at": now() - 2 * HOUR, "until": now() - HOUR}, "is past"),
        ({"kind": "maintenance", "until": now() + HOUR, "severity": "minor"}, "severity of this kind"),
    ],
)
def test_what_an_incident_cannot_be(values, reason):
    before = Incident.select().count()
    with pytest.raises(Exception, match=reason) as refusal:
        opened(**values)
    assert (refusal.value.code, Incident.select().count()) == ("incident_invalid", before)


def test_services_that_do_not_exist_are_named():
    with pytest.raises(UnknownService, match="'cellar'"):
        opened(services={"api": None, "cellar": None})


def test_characters_that_xml_forbids_are_left_out():
    incident, update = opened(title="A\r\n\x0b B\ufffe", text="one\x1b\r\ntwo\x00\t\U0001f600")
    assert (incident.title, update.text) == ("A B", "one\ntwo\t\U0001f600")


def test_a_version_that_is_not_the_present_one_changes_nothing():
    incident, _ = opened()
    do(changes.change, incident.id, title="Other", versions=[1])
    for attempt in (
        lambda: do(changes.change, incident.id, title="Third", versions=[1]),
        lambda: do(changes.add_update, incident.id, text="Third", versions=[]),
    ):
        with pytest.raises(IncidentChanged):
            attempt()
    assert Incident.get_by_id(incident.id).title == "Other"
    assert Update.select().where(Update.incident_id == incident.id).count() == 1


def test_what_was_changed_is_in_the_audit_log():
    incident, _ = opened()
    do(changes.change, incident.id, title="Slow uploads", impact="Answers take long.")
    event = AuditEvent.newest(
        actor=None, subject=f"status_incident:{incident.slug}", action=None, tenant_id=None, limit=1
    )[0]
    assert event.details == {"changes": {"title": ["Slow answers", "Slow uploads"]}}


def test_a_probe_has_one_open_incident_however_many_ask_at_once():
    key = f"probe-{uuid7()}"
    outcomes = crowd(20, lambda _: _outcome(lambda: opened(probe=key)))
    assert sorted(outcomes) == ["opened"] + ["probe_has_incident"] * 19
    do(changes.add_update, Incident.open_of_probe(key).id, state="resolved", text="Fine.")
    assert _outcome(lambda: opened(probe=key)) == "opened"


def test_a_crowd_ends_an_incident_once():
    incident, _ = opened()
    outcomes = crowd(
        20, lambda _: _outcome(lambda: do(changes.add_update, incident.id, state="resolved", text="Done."))
    )
    assert sorted(outcomes) == ["incident_ended"] * 19 + ["opened"]


def test_a_crowd_with_the_same_title_gets_different_slugs():
    title = f"Same {uuid7().hex[-8:]}"
    slugs = crowd(12, lambda _: opened(title=title)[0].slug)
    assert len(set(slugs)) == 12
    assert f"api-{title.lower().replace(' ', '-')}-{now():%Y-%m-%d}" in slugs


@pytest.mark.parametrize(
    ("title", "slug"),
    [
        ("日本", "api-2026-03-01"),
        ("Zürich & Umgebung!", "api-zurich-umgebung-2026-03-01"),
        ("w" * 200, f"api-{'w' * 48}-2026-03-01"),
        ("word " * 40, "api-word-word-word-word-word-word-word-word-word-2026-03-01"),
    ],
)
def test_slugs_are_short_and_plain(title, slug):
    assert next(candidates(title, "api", datetime(2026, 3, 1, tzinfo=UTC))) == slug


def test_what_fails_leaves_nothing_behind():
    title = f"Half {uuid7()}"
    with pytest.raises(RuntimeError), transaction():
        opened(title=title)
        raise RuntimeError
    assert not Incident.select().where(Incident.title == title).exists()


def _outcome(act):
    try:
        act()
    except Exception as error:
        return error.code
    return "opened"


def test_a_change_that_changes_nothing_is_none():
    incident, _ = opened()
    assert do(changes.change, incident.id, title=incident.title).version == 1
    assert AuditEvent.select().where(AuditEvent.action == "status.incident_changed").count() == 0
