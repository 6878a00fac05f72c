"""Maintenance starts and ends by itself, and subscribers are told of both, once."""

from datetime import timedelta

import pytest

from models.jobs.ledger import Job
from models.platform.clock import now
from models.platform.database import transaction
from models.status import incident_changes as changes
from models.status.incidents import Incident, Update
from models.status.maintenance import advance, due
from tests.support import jobs
from tests.support.crowd import crowd
from workers.jobs import STATUS_MAINTENANCE, enqueue

HOUR = timedelta(hours=1)
pytestmark = pytest.mark.usefixtures("clean")


def plan(starts_at, until, **values):
    given = {"title": "New disks", "impact": "Uploads wait.", "services": {"storage": None}, "text": "We plan."}
    with transaction():
        return changes.open_incident(
            "operator:jo", kind="maintenance", starts_at=starts_at, until=until, **(given | values)
        )[0]


def keep(**columns):
    """Make the clock pass: other times, and then the job of a minute."""
    from workers.status import maintenance

    if columns:
        Incident.update(**columns).execute()
    with transaction():
        enqueue(STATUS_MAINTENANCE)
    jobs.do({"status.maintenance": maintenance.keep_to_schedule})


def story():
    return [(update.state, update.text) for update in Update.select().order_by(Update.id)]


def told():
    return Job.select().where(Job.name == "status.fan_out").count()


def test_it_starts_and_ends_at_its_times():
    plan(now() + HOUR, now() + 2 * HOUR)
    keep()
    assert Incident.get().state == "scheduled"
    keep(starts_at=now() - HOUR)
    assert Incident.get().state == "in_progress"
    keep()
    keep(until=now())
    ended = Incident.get()
    assert (ended.state, ended.ended_at is not None) == ("completed", True)
    keep()
    assert story() == [
        ("scheduled", "We plan."),
        ("in_progress", "Maintenance has begun."),
        ("completed", "Maintenance is over."),
    ]
    assert told() == 2


def test_what_was_missed_altogether_is_over():
    plan(now() + HOUR, now() + 2 * HOUR)
    keep(starts_at=now() - 2 * HOUR, until=now() - HOUR)
    assert [state for state, _ in story()] == ["scheduled", "completed"]


def test_drafts_and_incidents_do_not_move():
    plan(now() + HOUR, now() + 2 * HOUR, publish=False)
    Incident.update(starts_at=now() - HOUR).execute()
    with transaction():
        changes.open_incident("operator:jo", title="A", impact="B", services={"api": None}, text="C")
    assert due() == []
    with transaction():
        assert [advance(row.id) for row in Incident.select()] == [None, None]


def test_a_crowd_of_workers_tells_it_once():
    incident = plan(now() + HOUR, now() + 2 * HOUR)
    Incident.update(starts_at=now() - HOUR).execute()

    def one(_):
        with transaction():
            return advance(incident.id)

    updates = crowd(10, one)
    assert sum(update is not None for update in updates) == 1
