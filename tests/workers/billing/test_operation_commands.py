"""`python -m workers.billing operations` and `reconcile`."""

import pytest

from models.billing.operations import BillingOperation
from models.jobs.ledger import Job
from models.platform.audit import AuditEvent
from models.platform.database import transaction
from tests.support.billing import work
from workers.billing.commands import main
from workers.gateways.stripe import call


@pytest.fixture
def run(capsys):
    """run("operations", "list") -> (exit status, what was printed)."""

    def make(*argv):
        status = main(list(argv))
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return make


def test_operations_are_listed_and_an_open_one_is_sent_again(ask_for, run, tenant):
    operation = ask_for("start", plan_code="pro")
    status, text = run("operations", "list", "--is", "pending", "--tenant", str(tenant.id))
    assert status == 0 and str(operation.id) in text and "user:test" in text
    assert run("operations", "list", "--is", "failed") == (0, "")
    Job.update(state="dead").execute()
    assert run("operations", "retry", str(operation.id)) == (0, "Sent.\n")
    assert AuditEvent.select().where(AuditEvent.action == "billing.operation_retried").count() == 1
    work()
    assert BillingOperation.reload(operation.id).state == "succeeded"
    status, text = run("operations", "retry", str(operation.id))
    assert status == 2 and "It has succeeded" in text
    for name in ("nonsense", "01a20ac7-784f-712d-8112-15c292557957"):
        assert run("operations", "retry", name)[0] == 2
    assert run("operations", "list", "--tenant", "acme")[0] == 2


def test_an_operation_of_any_end_is_listed_with_its_error(ask_for, run):
    operation = ask_for("portal")
    with transaction():
        operation.fail("provider_rejected", "Not like this.")
    assert "provider_rejected: Not like this." in run("operations", "list", "--kind", "portal")[1]


def test_reconcile_looks_first_and_then_mends(done, run, row, tenant):
    done("start", plan_code="pro")
    assert run("reconcile", "--tenant", "acme") == (0, "All is as Stripe says.\n")
    call("cancel", lambda stripe: stripe.v1.subscriptions.cancel(row().stripe_subscription_id))
    from models.platform.database import database

    database.execute_sql("update stripe_subscription set as_of = as_of - interval '1 minute'")
    status, text = run("reconcile", "--tenant", str(tenant.id), "--dry-run")
    assert status == 1 and text.startswith("open    subscription_changed") and str(tenant.id) in text
    assert row().status == "trialing"
    status, text = run("reconcile", "--tenant", "acme", "--fix")
    assert status == 0 and text.startswith("mended") and row().status == "canceled"
    assert run("reconcile", "--tenant", "nobody")[0] == 2


def test_without_billing_there_is_nothing_to_reconcile(run, clean):
    assert run("reconcile") == (2, "error: ENABLE_BILLING is off.\n")
