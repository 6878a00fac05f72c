"""Stripe's pages: one checkout page at a time is open, and what is paid there takes the place of a trial."""

import threading

import pytest

from models.billing import changes
from models.billing.operations import BillingOperation, ChangePending
from models.platform.database import transaction
from tests.support.billing import work
from tests.support.crowd import crowd
from workers.billing import checkout_paid, customers, starting
from workers.gateways.stripe import call


def pages(account, tenant):
    return {one["metadata"]["operation_id"]: one for one in account.of("checkout.session", tenant)}


def test_a_checkout_page_is_for_the_tenants_customer_and_plan(done, account, tenant, without_trial):
    operation = done("checkout", plan_code="pro", seat_count=6)
    page = pages(account, tenant)[str(operation.id)]
    assert operation.result["url"] == page["url"] and operation.result["expires_at"].endswith("Z")
    assert page["customer"] == account.of("customer", tenant)[0]["id"]
    assert (page["amount_total"], page["success_url"]) == (9900 + 1900, "http://localhost/paid")
    assert page["status"] == "open"


def test_opening_a_page_closes_those_before_and_so_does_a_start(done, account, tenant):
    first, second = done("checkout", plan_code="pro"), done("checkout", plan_code="pro")
    states = {name: page["status"] for name, page in pages(account, tenant).items()}
    assert states == {str(first.id): "expired", str(second.id): "open"}
    assert done("start", plan_code="pro").state == "succeeded"
    assert {page["status"] for page in pages(account, tenant).values()} == {"expired"}


def test_a_lost_answer_of_a_page_opens_one(ask_for, account, tenant):
    operation = ask_for("checkout", plan_code="pro")
    account.fault("POST /v1/checkout/sessions", "lost", times=3)
    work()
    work()
    assert BillingOperation.reload(operation.id).state == "succeeded"
    assert [page["status"] for page in pages(account, tenant).values()] == ["open"]


def test_who_pays_already_cannot_check_out_and_who_is_on_trial_can(done, ask_for, row, without_trial):
    done("start", plan_code="starter")
    assert ask_for("checkout", plan_code="pro"), "a free plan"
    done("cancel", at_period_end=False)
    done("start", plan_code="pro", payment_method="pm_card_visa")
    with pytest.raises(changes.SubscriptionExists):
        ask_for("checkout", plan_code="pro")


def test_while_a_change_is_open_no_page_is(ask_for, account):
    ask_for("start", plan_code="starter")
    with pytest.raises(ChangePending):
        ask_for("checkout", plan_code="pro")


def test_the_portal_is_a_page_of_the_tenants_customer(done, account, tenant):
    operation = done("portal")
    assert operation.result["url"].startswith("http") and len(account.of("customer", tenant)) == 1


def test_what_is_paid_on_a_page_ends_the_trial_that_was_there(done, row, account, tenant):
    done("start", plan_code="starter")
    trial = row().stripe_subscription_id
    operation = done("checkout", plan_code="pro")
    page = pages(account, tenant)[str(operation.id)]
    paid = account.http.post(page["url"].removeprefix(account.url), data={"card": "pm_card_visa", "action": "pay"})
    assert paid.status_code in (200, 302, 303), paid.text
    session = call("session", lambda stripe: stripe.v1.checkout.sessions.retrieve(page["id"]))
    assert session["status"] == "complete"
    for _ in range(2):  # the event came twice
        with transaction():
            assert checkout_paid.page_paid(session, None) == tenant.id
    while work():
        pass
    states = {one["id"]: one["status"] for one in account.of("subscription", tenant)}
    assert states == {trial: "canceled", session["subscription"]: "active"}
    assert (row().stripe_subscription_id, row().plan_code, row().status) == (session["subscription"], "pro", "active")
    done("cancel", at_period_end=False)
    assert done("start", plan_code="pro").state == "succeeded", "the card of the page is the customer's"


def test_of_two_pages_that_were_paid_the_one_opened_later_stays(done, account, tenant, without_trial, monkeypatch):
    monkeypatch.setattr(starting, "close_pages", lambda *_, **__: None)  # both were paid before they could be closed
    done("checkout", plan_code="pro")
    done("checkout", plan_code="pro")
    for page in account.of("checkout.session", tenant):
        account.http.post(page["url"].removeprefix(account.url), data={"card": "pm_card_visa", "action": "pay"})
    made = sorted(account.of("subscription", tenant), key=lambda one: one["metadata"]["operation_id"])
    older, newer = (one["id"] for one in made)
    with transaction():
        for session in account.of("checkout.session", tenant):
            checkout_paid.page_paid(session, None)
    work()
    assert {one["id"]: one["status"] for one in account.of("subscription", tenant)} == {
        older: "canceled",
        newer: "active",
    }


def test_two_pages_that_are_settled_at_once_do_not_end_each_other(done, account, tenant, without_trial, monkeypatch):
    monkeypatch.setattr(starting, "close_pages", lambda *_, **__: None)
    done("checkout", plan_code="pro")
    done("checkout", plan_code="pro")
    for page in account.of("checkout.session", tenant):
        account.http.post(page["url"].removeprefix(account.url), data={"card": "pm_card_visa", "action": "pay"})
    with transaction():
        for session in account.of("checkout.session", tenant):
            checkout_paid.page_paid(session, None)
    both, listed = threading.Barrier(2, timeout=20), customers.standing

    def standing(customer_id):
        found = listed(customer_id)
        both.wait()  # each has seen the other's
        return found

    monkeypatch.setattr(customers, "standing", standing)
    operations = list(BillingOperation.select().where(BillingOperation.kind == "checkout_paid"))
    crowd(2, lambda number: checkout_paid.settle(operations[number]))
    assert sorted(one["status"] for one in account.of("subscription", tenant)) == ["active", "canceled"]
