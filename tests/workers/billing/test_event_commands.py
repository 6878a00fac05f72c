"""`python -m workers.billing events`."""

import io
import json

import pytest

from tests.support.billing_inbox import named, reload, stored
from tests.workers.billing.test_events import run

PARKED = {"state": "failed", "due_at": None, "attempts": 15, "error": "ValueError: no"}


@pytest.fixture
def command(capsys, billing, prices):
    """command("list", ...) -> (exit status, stdout, stderr)."""
    from models.platform.database import release
    from workers.billing.commands import main

    def call(*arguments):
        release()
        status = main(["events", *arguments])
        return status, *capsys.readouterr()

    return call


def test_events_are_listed_narrowed_and_in_pages(command, tenant):
    stored("customer.subscription.updated", named(tenant), "evt_1")
    stored("invoice.paid", {"id": "in_1"}, "evt_2", columns=PARKED)
    status, out, _ = command("list")
    assert status == 0 and [line.split()[2] for line in out.splitlines()] == ["evt_2", "evt_1"]
    assert "parked" in out and "15 attempts" in out and "ValueError: no" in out and str(tenant.id) in out
    assert command("list", "--is", "parked")[1].split()[2] == "evt_2"
    assert command("list", "--tenant", str(tenant.id))[1].split()[2] == "evt_1"
    out = command("list", "--limit", "1")[1]
    cursor = out.splitlines()[-1].removeprefix("older: --cursor ")
    assert command("list", "--cursor", cursor)[1].split()[2] == "evt_1"
    assert command("list", "--cursor", "garbage")[0] == 2


def test_one_event_is_shown_as_json(command, tenant):
    stored("customer.subscription.updated", named(tenant), "evt_1")
    shown = json.loads(command("show", "evt_1")[1])
    assert shown["payload"]["id"] == "evt_1" and shown["state"] == "received"
    assert command("show", "evt_none") == (2, "", "error: Event not found.\n")


def test_a_replay_asks_first_and_then_heals_what_was_parked(command, tenant, monkeypatch):
    from models.platform.audit import AuditEvent

    rows = [stored("invoice.paid", named(tenant), f"evt_{n}", columns=PARKED) for n in range(2)]
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert command("replay", "--is", "parked")[0] == 2 and reload(rows[0]).due_at is None
    assert command("replay")[0] == 2
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert command("replay", "evt_0")[0] == 0
    assert command("replay", "--is", "parked", "--yes")[1] == "1 to be processed again.\n"
    assert {event.actor.split(":")[0] for event in AuditEvent.select()} == {"operator"}
    run()
    assert all(reload(row).attempts == 16 for row in rows)
