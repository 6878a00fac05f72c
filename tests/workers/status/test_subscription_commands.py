"""`python -m workers.status subscriptions`."""

import pytest

from models.jobs.ledger import Job
from models.platform.audit import AuditEvent
from models.status.subscriptions import ACTIVE, DISABLED, PENDING, REVOKED, StatusSubscription
from tests.support.status import subscribe
from workers.status.commands import main

pytestmark = pytest.mark.usefixtures("clean")
HOOK = "https://hook.example.com/"


def run(capsys, *args):
    status = main(["subscriptions", *map(str, args)])
    output = capsys.readouterr()
    return status, output.out + output.err


def test_lists_what_is_asked_for_without_targets(capsys, tenant):
    public, mine = subscribe("jo@example.com"), subscribe(HOOK, tenant=tenant, components=["api"], error="Away.")
    status, text = run(capsys, "list")
    first, second = text.splitlines()
    assert status == 0 and first.startswith(str(mine.id)) and second.startswith(str(public.id))
    assert "of api" in first and "Away." in first and "jo@example.com" not in text
    for args, found in (
        (["--public"], public),
        (["--tenant", "acme"], mine),
        (["--channel", "email"], public),
    ):
        assert [line.split()[0] for line in run(capsys, "list", *args)[1].splitlines()] == [str(found.id)]
    assert run(capsys, "list", "--is", "disabled") == (0, "")
    cursor = run(capsys, "list", "--limit", 1)[1].splitlines()[1].rpartition(" ")[2]
    assert run(capsys, "list", "--cursor", cursor)[1].startswith(str(public.id))


def test_revokes_one(capsys):
    row, other = subscribe("jo@example.com"), subscribe(HOOK)
    assert [run(capsys, "revoke", row.id)[0] for _ in range(2)] == [0, 0]
    assert [StatusSubscription.get_by_id(each.id).status for each in (row, other)] == [REVOKED, ACTIVE]
    [event] = AuditEvent.select()
    assert event.actor.startswith("operator:") and "jo@example.com" not in str(event.details)


@pytest.mark.parametrize("target", ["Jo@example.com", HOOK])
def test_forgets_an_address_everywhere(capsys, tenant, target):
    for owner in (None, tenant):
        subscribe(target.lower(), tenant=owner)
    other = subscribe("other@example.com")
    assert run(capsys, "forget", target)[1].startswith("2 of ")
    assert [row.id for row in StatusSubscription.select().where(StatusSubscription.status == ACTIVE)] == [other.id]
    assert run(capsys, "forget", target)[1].startswith("0 of ")


@pytest.mark.parametrize(
    ("action", "status", "job"),
    [
        ("challenge", PENDING, "status.challenge"),
        ("challenge", DISABLED, "status.challenge"),
        ("challenge", ACTIVE, None),
        ("challenge", REVOKED, None),
        ("test", ACTIVE, "status.test"),
        ("test", PENDING, None),
    ],
)
def test_has_webhooks_challenged_and_tested(capsys, action, status, job):
    row = subscribe(HOOK, status=status)
    assert run(capsys, action, row.id)[0] == (0 if job else 2)
    assert [each.name for each in Job.select()] == ([job] if job else [])


@pytest.mark.parametrize("action", ["challenge", "test"])
def test_mails_are_neither(capsys, action):
    row = subscribe("jo@example.com", status=PENDING if action == "challenge" else ACTIVE)
    assert run(capsys, action, row.id)[0] == 2


@pytest.mark.parametrize(
    "args", [("revoke", "x"), ("forget", "nonsense"), ("forget", "https://localhost/"), ("test", "x")]
)
def test_says_what_is_wrong(capsys, args):
    status, text = run(capsys, *args)
    assert status == 2 and text.startswith("error: ")
