"""The shell's commands about usage."""

import csv
import json
import time
from datetime import timedelta

import pytest

from models.billing import usage_batches
from models.platform.audit import AuditEvent
from models.platform.clock import now
from models.platform.database import database, transaction
from models.platform.ids import uuid7
from models.runs import holds, progress, usage
from workers.billing import usage_comparison
from workers.billing.commands import main


def record(tenant, **used):
    with transaction():
        usage.record(tenant.id, uuid7(), used)


def exported(capsys, *arguments):
    assert main(["usage", "export", *arguments]) == 0
    return capsys.readouterr().out


def test_usage_is_exported_against_limits(tenant, limited, capsys):
    limited("messages", soft=5, hard=10)
    limited("output_tokens", hard=100)
    record(tenant, messages=8, output_tokens=100, input_tokens=3)
    rows = {row["feature"]: row for row in csv.DictReader(exported(capsys, "--tenant", "acme").splitlines())}
    told = {feature: (row["used"], row["status"]) for feature, row in rows.items()}
    assert told == {
        "messages": ("8", "approaching"),
        "output_tokens": ("100", "exceeded"),
        "input_tokens": ("3", "unlimited"),
    }
    assert (rows["messages"]["soft_limit"], rows["messages"]["plan"]) == ("5", "small")


def test_an_export_is_limited_to_a_plan_and_a_period(tenant, limited, capsys):
    limited("messages", hard=10)
    record(tenant, messages=1)
    assert json.loads(exported(capsys, "--plan", "pro", "--format", "json")) == []
    [row] = json.loads(exported(capsys, "--period", "2020-02", "--format", "json"))
    assert (row["used"], row["status"], row["window_start"]) == (0, "within", "2020-02-01T00:00:00.000000Z")
    with pytest.raises(SystemExit):
        main(["usage", "export", "--period", "soon"])


def test_a_correction_counts_before_the_command_ends(tenant, limited, monkeypatch):
    limited("messages", hard=10)
    connect, key = progress.writer.connect, holds.key_of(tenant.id)
    connect().set(key, "what Redis knew")

    def slowly():
        time.sleep(0.3)
        return connect()

    monkeypatch.setattr(progress.writer, "connect", slowly)
    assert main(["usage", "correct", "acme", "messages", "3", "--reason", "forgotten"]) == 0
    assert not connect().exists(key)


def test_a_correction_is_an_entry_and_is_audited(tenant, limited, capsys):
    limited("messages", hard=10)
    record(tenant, messages=8)
    assert main(["usage", "correct", "acme", "messages", "-3", "--reason", "counted twice"]) == 0
    assert "-3 messages for acme" in capsys.readouterr().out
    rows = database.execute_sql("select quantity, details->>'reason' from usage_entry order by created_at").fetchall()
    assert rows == [(8, None), (-3, "counted twice")]
    event = AuditEvent.get(AuditEvent.action == "usage.correct")
    assert (event.tenant_id, event.reason, event.details["quantity"]) == (tenant.id, "counted twice", -3)
    assert '"used": 5' in exported(capsys, "--format", "json")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nobody", "messages", "1"],
        ["acme", "nothing", "1"],
        ["acme", "messages", "1", "--at", (now() - timedelta(days=60)).isoformat()],
        ["acme", "messages", "1", "--at", "2199-01-01"],
    ],
)
def test_a_correction_that_makes_no_sense_is_refused(tenant, limited, arguments, capsys):
    limited("messages", hard=10)
    assert main(["usage", "correct", *arguments, "--reason", "x"]) == 2
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize("quantity", ["0", "many", str(10**13)])
def test_the_command_says_which_numbers_it_takes(tenant, quantity):
    with pytest.raises(SystemExit):
        main(["usage", "correct", "acme", "messages", quantity, "--reason", "x"])


def batch_of(tenant, state, quantity):
    batch_id = uuid7()
    database.execute_sql(
        """insert into usage_batch (id, tenant_id, feature, hour, period_start, quantity, used_at, state, event_name,
               stripe_customer_id, first_sent_at, error)
           values (%s, %s, 'messages', date_trunc('hour', now()), '-infinity', %s, now(), %s, 'e', 'cus_1', now(), 'gone')""",
        (batch_id, tenant.id, quantity, state),
    )
    return batch_id


def test_parked_batches_are_shown_and_sent_again_with_a_reason(tenant, capsys):
    batch = batch_of(tenant, "parked", 7)
    assert main(["usage", "parked"]) == 0
    out = capsys.readouterr().out
    assert all(part in out for part in (str(batch), str(tenant.id), "messages 7", "gone"))
    assert main(["usage", "resend", str(batch), "--reason", "the customer is back"]) == 0
    assert usage_batches.is_any_due() and usage_batches.parked() == []
    assert main(["usage", "resend", str(batch), "--reason", "again"]) == 2
    assert AuditEvent.get(AuditEvent.action == "usage.resend").subject == str(batch)


@pytest.mark.parametrize(("at_stripe", "status"), [(9, 1), (10, 0), (14, 0), (15, 1)])
def test_our_sums_are_compared_with_those_of_stripe(tenant, capsys, monkeypatch, at_stripe, status):
    database.execute_sql(
        "insert into billing_customer (tenant_id, stripe_customer_id) values (%s, 'cus_1')", (tenant.id,)
    )
    monkeypatch.setattr(usage_batches, "meters", lambda: {"messages": "mtr_1"})
    monkeypatch.setattr(usage_comparison.meters, "summed", lambda *_: at_stripe)
    record(tenant, messages=16)
    for state, quantity in (("sent", 10), ("sealed", 3), ("open", 1), ("parked", 2)):
        batch_of(tenant, state, quantity)
    assert main(["usage", "compare", "acme"]) == status
    told = "messages: counted 16, sent 10, waiting 4, parked 2, at Stripe"
    out = capsys.readouterr().out
    assert out.startswith(told) and ("DIFFERS" in out) == bool(status)
