"""Starting a subscription: one of it, whatever happens on the way."""

import time
from datetime import timedelta

import pytest

from models.billing import changes, standing
from models.billing.customers import BillingCustomer
from models.billing.operations import BillingOperation
from models.billing.quotas import RUN, Guard
from models.billing.subscription import Subscription
from models.billing.usage_limits import UsageLimitExceeded
from models.platform.clock import now
from models.platform.database import transaction
from models.platform.ids import uuid7
from models.runs import usage
from tests.support.billing import work
from tests.support.crowd import crowd
from workers.billing import operations
from workers.gateways.stripe import call

ATTACHES_AND_FAILS, NEVER_ATTACHES, GOOD = "pm_card_chargeCustomerFail", "pm_card_chargeDeclined", "pm_card_visa"


def reloaded(operation):
    return BillingOperation.reload(operation.id)


def age(operation, **span):
    """The operation has been open for this long."""
    BillingOperation.update(created_at=now() - timedelta(**span)).where(BillingOperation.id == operation.id).execute()


def test_a_start_ends_with_stripes_subscription_in_our_row(ask_for, account, tenant, row, told):
    operation = ask_for("start", plan_code="pro", billing_email="bills@example.com")
    assert row().status == "incomplete" and row().stripe_subscription_id is None
    assert work() == 1
    [subscription] = account.of("subscription", tenant)
    assert (row().status, row().plan_code, row().seat_count, row().auto_renew) == ("trialing", "pro", 5, True)
    assert row().stripe_subscription_id == subscription["id"] and row().trial_ends_at == row().current_period_end
    assert row().billing_email == "bills@example.com"
    [customer] = account.of("customer", tenant)
    assert (customer["email"], customer["name"]) == ("bills@example.com", "Acme")
    assert reloaded(operation).state == "succeeded"
    assert told() == ["longshore.subscription.started"]


def test_a_tenant_has_one_trial(done, row, account, tenant):
    done("start", plan_code="pro")
    assert row().status == "trialing"
    done("cancel", at_period_end=False)
    assert row().status == "canceled"
    with pytest.raises(changes.PaymentRequired), transaction():
        # Stripe knows the customer, so the worker would look for a card; there is none for a fresh tenant
        BillingCustomer.update(stripe_customer_id=None).execute()
        changes.start(tenant.id, changes.Start(plan_code="pro"), "user:test")
    assert done("start", plan_code="pro").error_code == "payment_required"
    assert row().status == "canceled", "the row is again what Stripe last said"
    assert done("start", plan_code="pro", payment_method=GOOD).state == "succeeded"
    assert (row().status, row().trial_ends_at) == ("active", None)
    assert sorted(one["status"] for one in account.of("subscription", tenant)) == ["active", "canceled"]
    assert len(account.of("customer", tenant)) == 1


def test_a_free_plan_needs_no_card_and_goes_on_after_its_trial(done, row, without_trial, account, tenant):
    assert done("start", plan_code="starter").state == "succeeded"
    assert (row().status, row().seat_count) == ("active", 1)


@pytest.mark.parametrize("card", [ATTACHES_AND_FAILS, NEVER_ATTACHES])
def test_a_declined_card_leaves_the_tenant_as_before(card, done, row, without_trial, account, tenant, told):
    operation = done("start", plan_code="pro", payment_method=card)
    assert (operation.error_code, operation.result) == ("card_declined", {"decline_code": "generic_decline"})
    assert row() is None and not [one for one in account.of("subscription", tenant) if one["status"] != "canceled"]
    assert told() == ["longshore.operation.failed"]
    assert done("start", plan_code="pro", payment_method=GOOD).state == "succeeded" and row().status == "active"
    assert done("update", seat_count=6).state == "succeeded", "the card is now the customer's own"


def test_people_are_told_of_a_failure_that_nobody_waited_for(ask_for, without_trial, account, tenant):
    from models.billing.notices import Notice

    for waited in (False, True):
        operation = ask_for("start", plan_code="pro", payment_method=ATTACHES_AND_FAILS)
        if not waited:
            age(operation, seconds=11)
        work()
        assert reloaded(operation).state == "failed"
    [notice] = Notice.select()
    assert (notice.kind, notice.details["operation"]) == ("operation_failed", "start")


def test_an_unknown_promotion_code_is_refused_and_a_known_one_counts(done, row, without_trial, account, tenant):
    assert (
        done("start", plan_code="pro", payment_method=GOOD, promotion_code="NOPE").error_code
        == "promotion_code_unknown"
    )
    coupon = call("coupons.create", lambda stripe: stripe.v1.coupons.create({"percent_off": 50, "duration": "once"}))
    code = {"promotion": {"type": "coupon", "coupon": coupon["id"]}, "code": f"HALF{tenant.id.hex[-8:]}"}
    call("promotion_codes.create", lambda stripe: stripe.v1.promotion_codes.create(code))
    assert done("start", plan_code="pro", payment_method=GOOD, promotion_code=code["code"]).state == "succeeded"
    [invoice] = [one for one in account.objects("invoice") if one["customer"] == BillingCustomer.stripe_id(tenant.id)]
    assert invoice["amount_paid"] == 4950


def test_a_payment_method_of_another_customer_or_of_nobody_is_refused(done, row, without_trial, account, tenant):
    other = call("customer", lambda stripe: stripe.v1.customers.create({"metadata": {"of": "another"}}))["id"]
    theirs = call("attach", lambda stripe: stripe.v1.payment_methods.attach(GOOD, {"customer": other}))["id"]
    for card in (theirs, "pm_nobodys"):
        assert done("start", plan_code="pro", payment_method=card).error_code == "payment_method_invalid"
    assert row() is None and not account.of("subscription", tenant)


def test_a_new_start_brings_its_address_to_the_customer_that_is_there(done, row, account, tenant):
    done("start", plan_code="starter", billing_email="old@example.com")
    done("cancel", at_period_end=False)
    assert done("start", plan_code="starter", billing_email="new@example.com").state == "succeeded"
    [customer] = account.of("customer", tenant)
    assert customer["email"] == row().billing_email == BillingCustomer.of_tenant(tenant.id).email == "new@example.com"


@pytest.mark.parametrize("calls", ["POST /v1/customers", "POST /v1/customers/*", "POST /v1/subscriptions"])
@pytest.mark.parametrize("times", [1, 3])
def test_a_lost_answer_makes_nothing_twice(ask_for, row, account, tenant, calls, times):
    """The library tries three times, so three lost answers end an attempt of the job."""
    operation = ask_for("start", plan_code="pro", billing_email="bills@example.com")
    account.fault(calls, "lost", times=times)
    while not reloaded(operation).is_finished:
        assert work() == 1
    assert reloaded(operation).state == "succeeded" and row().status == "trialing"
    assert len(account.of("subscription", tenant)) == len(account.of("customer", tenant)) == 1


def test_a_worker_that_dies_after_stripes_answer_leaves_one_subscription(ask_for, row, account, tenant, monkeypatch):
    operation = ask_for("start", plan_code="pro")
    with monkeypatch.context() as patch:
        patch.setattr(operations, "_succeed", lambda *_: 1 / 0)
        work()
    assert not reloaded(operation).is_finished and len(account.of("subscription", tenant)) == 1
    work()
    assert reloaded(operation).state == "succeeded" and row().status == "trialing"
    assert len(account.of("subscription", tenant)) == len(account.of("customer", tenant)) == 1


def test_two_workers_with_the_same_operation_make_one_subscription_and_tell_once(ask_for, account, tenant, told):
    from models.jobs.ledger import Job
    from workers.jobs import BILLING_OPERATION, enqueue
    from workers.runtime import execute

    operation = ask_for("start", plan_code="pro", billing_email="bills@example.com")
    with transaction():
        for _ in range(7):
            enqueue(BILLING_OPERATION, tenant_id=tenant.id, operation_id=str(operation.id))
    jobs = [str(job.id) for job in Job.select().where(Job.name == "billing.operation")]
    crowd(8, lambda n: execute(BILLING_OPERATION, operations.run_operation, jobs[n]))
    while Job.select().where((Job.name == "billing.operation") & (Job.state == "queued")).exists():
        work()
    assert reloaded(operation).state == "succeeded"
    assert len(account.of("subscription", tenant)) == len(account.of("customer", tenant)) == 1
    assert told() == ["longshore.subscription.started"]


def test_while_stripe_is_away_the_job_tries_again_and_then_the_tenant_is_as_before(ask_for, row, account, tenant):
    operation = ask_for("start", plan_code="pro")
    account.fault("*", status=503, times=1000)
    work()
    assert not reloaded(operation).is_finished and row().status == "incomplete"
    age(operation, minutes=16)
    work()
    assert reloaded(operation).error_code == "provider_unavailable" and row() is None
    account.tell("fault", clear=True)
    assert not account.of("customer", tenant)


def test_what_was_made_before_stripe_went_away_is_found_at_the_end(ask_for, row, account, tenant, monkeypatch):
    operation = ask_for("start", plan_code="pro")
    with monkeypatch.context() as patch:
        patch.setattr(operations, "_succeed", lambda *_: 1 / 0)
        work()
    account.fault("GET /v1/checkout/sessions", status=503, times=3)  # so that the next attempt fails
    age(operation, minutes=16)
    work()
    assert reloaded(operation).state == "succeeded" and row().status == "trialing"
    assert len(account.of("subscription", tenant)) == 1


def test_when_all_attempts_are_used_up_the_operation_fails_with_its_own_job(ask_for, row, account, monkeypatch):
    from models.jobs.ledger import Job

    operation = ask_for("start", plan_code="pro")
    Job.update(max_failures=1).execute()
    with monkeypatch.context() as patch:
        patch.setattr(operations, "KINDS", {"start": operations.Kind(lambda _: 1 / 0, 60)})
        work()
    assert not reloaded(operation).is_finished
    assert work("billing.operation_fail") == 1
    assert reloaded(operation).error_code == "internal_error" and row() is None


def test_a_subscription_that_was_made_elsewhere_meanwhile_is_found_instead_of_a_second_one(done, row, account, tenant):
    assert done("portal").state == "succeeded"  # the customer is there
    params = {"customer": BillingCustomer.stripe_id(tenant.id), "metadata": {"tenant_id": str(tenant.id)}}
    from models.billing import stripe_prices

    params["items"] = [{"price": stripe_prices.current("starter")[""], "quantity": 1}]
    call("subscriptions.create", lambda stripe: stripe.v1.subscriptions.create(params))
    assert done("start", plan_code="pro").error_code == "subscription_exists"
    assert (row().plan_code, row().status) == ("starter", "active") and len(account.of("subscription", tenant)) == 1


# ---------------------------------------------------------------- accounts


def test_an_account_has_its_trial_before_stripe_knows_of_it(ask_for, row, account, tenant):
    operation = ask_for("provision", plan_code="starter", billing_email="me@example.com")
    assert row().status == "trialing" and row().trial_ends_at > now() + timedelta(days=13)
    account.fault("*", status=503, times=1000)
    age(operation, hours=1)
    work()
    assert not reloaded(operation).is_finished and row().status == "trialing"
    account.tell("fault", clear=True)
    work()
    assert reloaded(operation).state == "succeeded" and row().stripe_subscription_id


def test_a_plan_that_is_paid_at_once_is_left_to_the_tenant(ask_for, row, without_trial, account):
    assert ask_for("provision", plan_code="pro") is None and row() is None


def test_a_wrong_key_does_not_cost_an_account_its_subscription(ask_for, row, account, configure):
    operation = ask_for("provision", plan_code="starter")
    configure(stripe_secret_key="sk_test_other")
    work()
    assert not reloaded(operation).is_finished and Subscription.select().count() == 1


def test_who_ends_a_free_plan_and_starts_it_again_has_used_what_they_have_used(
    done, row, tenant, without_trial, configure
):
    configure(enable_usage_guardrails=True)
    done("start", plan_code="starter")
    first = standing.read(tenant.id).window.start
    with transaction():
        usage.record(tenant.id, uuid7(), {"messages": 200})
    for _ in range(2):
        time.sleep(1.1)  # Stripe's times are seconds
        done("cancel", at_period_end=False)
        assert done("start", plan_code="starter").state == "succeeded"
        assert row().current_period_start > first and standing.read(tenant.id).window.start == first
        guard = Guard(tenant.id, uuid7(), RUN)
        with pytest.raises(UsageLimitExceeded):
            guard.begin(guard.reserve)
    time.sleep(1.1)
    done("cancel", at_period_end=False)
    done("start", plan_code="pro", payment_method="pm_card_visa")
    assert standing.read(tenant.id).window.start == row().current_period_start, "what is paid for is all there"
