"""`python -m workers.status incidents`."""

from datetime import timedelta

import pytest

from models.jobs.ledger import Job
from models.platform.audit import AuditEvent
from models.platform.clock import now
from models.status.incidents import Incident
from workers.status.commands import main

OPEN = ("open", "--title", "Slow answers", "--impact", "Answers take long.", "--text", "We look.", "--service")
pytestmark = pytest.mark.usefixtures("clean")


@pytest.fixture
def run(capsys):
    """run("list") -> (exit status, what was printed)."""

    def make(*argv):
        status = main(["incidents", *argv])
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return make


def told():
    return Job.select().where(Job.name == "status.fan_out").count()


def test_the_life_of_an_incident(run):
    assert run(*OPEN, "api", "--service", "chat=degraded", "--severity", "critical")[0] == 0
    slug = Incident.get().slug
    assert Incident.get().services == {"api": "incident", "chat": "degraded"}
    assert run("update", slug, "--text", "A disk.", "--is", "identified", "--quiet")[0] == 0
    assert run("change", slug, "--title", "Very slow answers", "--service", "api")[0] == 0
    status, text = run("update", slug, "--text", "Done.", "--is", "resolved")
    assert (status, "resolved" in text, told()) == (0, True, 2)
    status, text = run("show", slug)
    assert all(part in text for part in ("Very slow answers", "Answers take long.", "identified: A disk.", "We look."))
    assert run("update", slug, "--text", "More.") == (
        2,
        "error: It has ended. What comes back is a new incident.\n",
    )
    assert AuditEvent.select().where(AuditEvent.actor.startswith("operator:")).count() == 4


def test_drafts_are_published_or_discarded(run):
    run(*OPEN, "api", "--draft")
    slug = Incident.get().slug
    assert "draft" in run("list", "--drafts")[1]
    assert told() == 0
    assert (run("publish", slug)[0], told(), run("list", "--drafts")[1]) == (0, 1, "")
    assert slug in run("list", "--open")[1]
    assert run("discard", slug)[0] == 2
    run(*OPEN, "mail", "--draft")
    draft = Incident.get(Incident.published_at.is_null()).slug
    assert run("discard", draft) == (0, "Discarded.\n")
    assert run("show", draft) == (2, "error: Incident not found.\n")


def test_maintenance_is_planned(run):
    times = [f"{now() + timedelta(hours=hours):%Y-%m-%dT%H:%M}" for hours in (2, 3)]
    assert run("plan", *OPEN[1:], "storage", "--from", times[0], "--until", times[1])[0] == 0
    plan = Incident.get()
    assert (plan.kind, plan.state, f"{plan.starts_at:%Y-%m-%dT%H:%M}") == ("maintenance", "scheduled", times[0])


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        ((*OPEN, "cellar"), "no service 'cellar'"),
        ((*OPEN, "api=broken"), "cannot be 'broken'"),
        (("update", "nothing", "--text", "x"), "Incident not found"),
        (("list", "--limit", "0"), "positive number"),
    ],
)
def test_what_cannot_be_is_refused(run, argv, reason):
    status, text = run(*argv)
    assert (status, reason in text, Incident.select().count()) == (2, True, 0)
