"""Reconciliation: what we have missed is taken over, what cannot be explained is reported, and one runs at a time."""

from datetime import timedelta

import pytest

from models.auth.tenants import Tenant
from models.billing import stripe_prices, stripe_sync, usage_batches
from models.billing.customers import BillingCustomer
from models.billing.operations import BillingOperation
from models.billing.subscription import Subscription
from models.jobs.ledger import Job
from models.platform.audit import AuditEvent
from models.platform.clock import now
from models.platform.database import database, transaction
from models.platform.limits import QuotaExceeded, Slot
from tests.support.billing import work
from workers.billing import usage_comparison
from workers.billing.reconciliation import Reconciliation
from workers.gateways.stripe import call


def found(tenant, *, mend=True):
    """{kind: mended} of the differences of one tenant."""
    return {drift.kind: drift.mended for drift in Reconciliation(tenant.id, mend=mend).run()}


def found_of_all(*tenants):
    """[(kind, mended)] of those of these tenants when all are compared."""
    ids = {tenant.id for tenant in tenants}
    return [(drift.kind, drift.mended) for drift in Reconciliation().run() if drift.tenant_id in ids]


def made_elsewhere(tenant, plan_code="starter"):
    """A subscription that nobody has told us of."""
    customer = BillingCustomer.stripe_id(tenant.id)
    named = {"tenant_id": str(tenant.id)}
    if customer is None:
        customer = call("customer", lambda stripe: stripe.v1.customers.create({"metadata": named}))["id"]
    items = [{"price": stripe_prices.current(plan_code)[""], "quantity": 1}]
    params = {"customer": customer, "items": items, "metadata": named}
    return call("subscription", lambda stripe: stripe.v1.subscriptions.create(params))


def test_where_all_is_as_stripe_says_nothing_is_found(done, tenant):
    done("start", plan_code="pro", billing_email="bills@example.com")
    assert found(tenant) == {} and found_of_all(tenant) == []


def test_a_change_whose_webhook_was_lost_is_taken_over(done, row, tenant):
    done("start", plan_code="pro")
    call("cancel", lambda stripe: stripe.v1.subscriptions.cancel(row().stripe_subscription_id))
    database.execute_sql("update stripe_subscription set as_of = as_of - interval '1 minute'")
    assert found(tenant, mend=False) == {"subscription_changed": False} and row().status == "trialing"
    assert found(tenant) == {"subscription_changed": True} and row().status == "canceled"
    assert found(tenant) == {}
    lines = AuditEvent.select().where(AuditEvent.action == "billing.drift").order_by(AuditEvent.id)
    assert [(line.tenant_id, line.details["mended"]) for line in lines] == [(tenant.id, False), (tenant.id, True)]


def test_a_subscription_and_a_customer_that_we_never_heard_of_are_taken_over(account, row, tenant):
    subscription = made_elsewhere(tenant)
    assert found_of_all(tenant) == [("customer_changed", True), ("subscription_missed", True)]
    assert (row().stripe_subscription_id, row().status) == (subscription["id"], "active")
    assert BillingCustomer.stripe_id(tenant.id) == subscription["customer"]


def test_two_customers_or_two_subscriptions_of_a_tenant_are_reported(done, account, tenant):
    done("start", plan_code="pro")
    made_elsewhere(tenant)
    named = {"metadata": {"tenant_id": str(tenant.id)}}
    call("customer", lambda stripe: stripe.v1.customers.create(named))
    assert sorted(found_of_all(tenant)) == [
        ("customer_doubled", False),
        ("subscription_missed", True),
        ("two_subscriptions", False),
    ]


def test_what_stripe_does_not_know_is_reported(done, tenant):
    done("start", plan_code="pro")
    database.execute_sql("update stripe_subscription set stripe_subscription_id = 'sub_gone'")
    assert found(tenant, mend=False) == {"subscription_missed": False, "subscription_gone": False}


def test_what_fails_with_one_tenant_does_not_stop_the_others(account, tenant):
    other = Tenant.create(slug="other", name="Other")
    unknown = call("product", lambda stripe: stripe.v1.products.create({"name": "Not ours"}))
    price = {"product": unknown["id"], "currency": "usd", "unit_amount": 0, "recurring": {"interval": "month"}}
    price = call("price", lambda stripe: stripe.v1.prices.create(price))
    named = {"tenant_id": str(tenant.id)}
    customer = call("customer", lambda stripe: stripe.v1.customers.create({"metadata": named}))
    params = {"customer": customer["id"], "items": [{"price": price["id"]}], "metadata": named}
    call("subscription", lambda stripe: stripe.v1.subscriptions.create(params))
    made_elsewhere(other)
    kinds = [drift.kind for drift in Reconciliation().run()]
    assert "plan_unknown" in kinds
    assert Subscription.of_tenant(other.id).status == "active" and Subscription.of_tenant(tenant.id) is None


def test_an_operation_without_a_job_gets_another(ask_for, row, tenant):
    operation = ask_for("start", plan_code="pro")
    BillingOperation.update(created_at=now() - timedelta(hours=2)).execute()
    assert found(tenant) == {}, "its job is there"
    Job.update(state="dead").execute()
    assert found(tenant) == {"operation_stuck": True}
    work()
    assert BillingOperation.reload(operation.id).is_finished


def test_an_account_whose_subscription_could_not_be_made_gets_it_later(ask_for, row, tenant):
    operation = ask_for("provision", plan_code="starter", billing_email="me@example.com")
    Job.update(state="dead").execute()
    with transaction():
        operation.fail("provider_unavailable", "Stripe could not be reached.")
        Subscription.delete().execute()
    assert found(tenant) == {"subscription_never_made": True} and row().status == "trialing"
    work()
    assert row().stripe_subscription_id and found(tenant) == {}


@pytest.mark.parametrize(("at_stripe", "differs"), [(7, False), (8, True)])
def test_usage_that_stripe_does_not_have_as_it_was_sent_is_reported(done, tenant, monkeypatch, at_stripe, differs):
    done("start", plan_code="pro")
    database.execute_sql(
        """insert into usage_batch (id, tenant_id, feature, hour, period_start, quantity, used_at, state)
           values (gen_random_uuid(), %s, 'messages', date_trunc('hour', now() - interval '1 day'), '-infinity', 7, now(), 'sent')""",
        (tenant.id,),
    )
    monkeypatch.setattr(usage_batches, "meters", lambda: {"messages": "mtr_1"})
    monkeypatch.setattr(usage_comparison.meters, "summed", lambda *_: at_stripe)
    assert found(tenant) == ({"usage_differs": False} if differs else {})


def test_one_runs_at_a_time(account, tenant):
    with pytest.raises(QuotaExceeded):
        taken = Slot.take("billing_reconciliation", 1)
        try:
            Reconciliation(tenant.id).run()
        finally:
            taken.release()
    assert found(tenant) == {}


def test_the_nightly_job_mends_and_purges(done, row, tenant):
    from workers.jobs import BILLING_RECONCILE, enqueue

    done("start", plan_code="pro")
    call("cancel", lambda stripe: stripe.v1.subscriptions.cancel(row().stripe_subscription_id))
    database.execute_sql("update stripe_subscription set as_of = as_of - interval '1 minute'")
    BillingOperation.update(finished_at=now() - timedelta(days=500)).execute()
    with transaction():
        enqueue(BILLING_RECONCILE)
    assert work("billing.reconcile") == 1
    assert row().status == "canceled" and not BillingOperation.select().exists()
    assert Job.get(Job.name == "billing.reconcile").state == "succeeded"


def test_many_pages_of_subscriptions_are_all_seen(account, tenant, monkeypatch):
    monkeypatch.setattr("workers.gateways.stripe.PAGE", 2)
    for _ in range(3):
        made_elsewhere(tenant)
    assert len(found_of_all(tenant)) >= 4


def test_an_account_that_cannot_have_its_subscription_any_more_does_not_stop_the_others(ask_for, person, tenant):
    operation = ask_for("provision", plan_code="starter", billing_email="me@example.com")
    Job.update(state="dead").execute()
    with transaction():
        operation.fail("provider_unavailable", "Stripe could not be reached.")
        Subscription.delete().execute()
        Tenant.update(seats=None).execute()
    person("owner")
    person("member")  # more than the plan has seats
    other = Tenant.create(slug="other", name="Other")
    made_elsewhere(other)
    drifts = {drift.tenant_id: (drift.kind, drift.mended) for drift in Reconciliation().run()}
    assert drifts[tenant.id] == ("subscription_never_made", False) and other.id in drifts
    assert Subscription.of_tenant(other.id).status == "active"


def test_a_fault_with_one_object_does_not_stop_the_others(account, tenant, monkeypatch):
    other, apply = Tenant.create(slug="other", name="Other"), stripe_sync.apply_subscription
    made_elsewhere(other)
    made_elsewhere(tenant)

    def fails(thing, order, tenant_id):
        if tenant_id == tenant.id:
            raise KeyError("start_date")
        return apply(thing, order, tenant_id)

    monkeypatch.setattr(stripe_sync, "apply_subscription", fails)
    kinds = [drift.kind for drift in Reconciliation().run() if not drift.mended]
    assert "internal_error" in kinds and Subscription.of_tenant(other.id).status == "active"
