"""The one form of billing's events."""

import pytest

from models.billing import normal_form as form
from models.billing.subscription import Subscription
from models.platform.ids import uuid7
from tests.support.stripe_objects import (
    END,
    MESSAGES_PRICE,
    PRICES,
    SEAT_PRICE,
    event,
    invoice,
    item,
    line,
    subscription,
)

TENANT = uuid7()
JANUARY, FEBRUARY = "2026-01-01T00:00:00.000000Z", "2026-02-01T00:00:00.000000Z"


def formed(event_type, thing, **more):
    return form.normal_form(TENANT, event(event_type, thing), PRICES, **more)


def test_a_subscription_as_clients_get_it():
    assert formed("customer.subscription.updated", subscription(trial_end=END)) == {
        "tenant_id": str(TENANT),
        "event_type": "customer.subscription.updated",
        "stripe_event_id": "evt_1",
        "occurred_at": JANUARY,
        "status": "active",
        "summary": "Subscription active",
        "subscription": {
            "plan_code": "pro",
            "status": "active",
            "seat_count": 5,
            "auto_renew": True,
            "current_period_start": JANUARY,
            "current_period_end": FEBRUARY,
            "trial_ends_at": FEBRUARY,
            "cancel_at": None,
        },
        "invoice": None,
        "usage": [],
        "processing_status": "processed",
    }


def test_an_invoice_as_clients_get_it():
    assert formed("invoice.paid", invoice(line(), line(SEAT_PRICE, 5, 9900))) == {
        "tenant_id": str(TENANT),
        "event_type": "invoice.paid",
        "stripe_event_id": "evt_1",
        "occurred_at": JANUARY,
        "status": "paid",
        "summary": "subscription_cycle",
        "subscription": None,
        "invoice": {
            "invoice_id": "in_1",
            "status": "paid",
            "amount_due_cents": 9900,
            "currency": "usd",
            "billing_reason": "subscription_cycle",
            "hosted_invoice_url": "https://invoice.stripe.com/i/1",
            "collection_method": "charge_automatically",
            "period_start": JANUARY,
            "period_end": FEBRUARY,
        },
        "usage": [
            {
                "feature_key": "messages",
                "quantity": 300,
                "period_start": JANUARY,
                "period_end": FEBRUARY,
                "amount_cents": 600,
            }
        ],
        "processing_status": "processed",
    }


def test_the_period_is_that_of_the_seats_whatever_the_order_of_the_items():
    metered = item(MESSAGES_PRICE, None, current_period_end=END + 1)
    section = form.subscription_section(subscription(metered, item()), PRICES)
    assert (section["seat_count"], section["current_period_end"]) == (5, FEBRUARY)


def test_of_unknown_prices_the_first_item_counts():
    section = form.subscription_section(subscription(item("price_a", 2), item("price_b", 3)), PRICES)
    assert (section["seat_count"], section["plan_code"]) == (2, "price_a")


@pytest.mark.parametrize(
    ("thing", "code"),
    [
        (subscription(metadata={"plan_code": "starter"}), "pro"),  # the price that is paid decides
        (subscription(item("price_x"), metadata={"plan_code": "gold", "plan": "silver"}), "gold"),
        (subscription(item("price_x"), metadata={"plan": "silver"}), "silver"),
        (subscription(item(price={"id": "price_x", "metadata": {"plan_code": "old"}, "nickname": "n"})), "old"),
        (subscription(item(price={"id": "price_x", "nickname": "Gold"})), "Gold"),
        (subscription(item("price_x")), "price_x"),
        (subscription() | {"items": {"data": []}}, "unknown-plan"),
        (subscription() | {"items": None, "metadata": None}, "unknown-plan"),
    ],
)
def test_whose_plan_it_is(thing, code):
    assert form.plan_code(thing, PRICES) == code


def test_a_subscription_that_ends_with_its_period_says_when():
    section = form.subscription_section(subscription(cancel_at_period_end=True), PRICES)
    assert (section["auto_renew"], section["cancel_at"]) == (False, FEBRUARY)


@pytest.mark.parametrize(
    ("amounts", "due"),
    [
        ({"amount_due": 0, "total": 9900}, 0),  # paid from the customer's balance
        ({"amount_due": 0, "total": 0}, 0),
        ({"amount_due": None, "total": 500}, 500),
        ({"amount_due": None, "total": None}, 0),
    ],
)
def test_what_is_due_of_an_invoice(amounts, due):
    assert form.invoice_section(invoice(**amounts))["amount_due_cents"] == due


def test_an_invoice_without_most_of_its_fields():
    section = form.invoice_section({"object": "invoice", "invoice_pdf": "https://pay/1.pdf", "currency": "EUR"})
    assert (section["invoice_id"], section["status"], section["currency"]) == ("invoice", "unknown", "eur")
    assert section["hosted_invoice_url"] == "https://pay/1.pdf"


@pytest.mark.parametrize(
    ("one", "feature"),
    [
        (line("price_x"), None),
        (line({"id": "price_x", "recurring": {"usage_type": "licensed"}, "nickname": "Seats"}), None),
        (line({"id": "price_x", "recurring": {"usage_type": "metered"}, "metadata": {"feature_key": "a"}}), "a"),
        (line({"id": "price_x", "recurring": {"usage_type": "metered"}, "metadata": {"plan_feature": "b"}}), "b"),
        (line({"id": "price_x", "recurring": {"usage_type": "metered"}, "nickname": "c"}), "c"),
        (line({"id": MESSAGES_PRICE}), "messages"),
        (line(quantity=0), None),
        (line(quantity=None), None),
        (line(pricing=None), None),
    ],
)
def test_which_lines_are_usage(one, feature):
    assert [use["feature_key"] for use in form.usage_lines(invoice(one), PRICES)] == ([feature] if feature else [])


@pytest.mark.parametrize("event_type", ["customer.updated", "charge.failed", "checkout.session.completed"])
def test_other_types_have_no_sections(event_type):
    made = formed(event_type, {"id": "x", "object": "x", "status": "open", "description": "A thing"})
    assert (made["subscription"], made["invoice"], made["usage"]) == (None, None, [])
    assert (made["status"], made["summary"]) == ("open", "A thing")


def test_a_thing_without_a_status_has_that_of_its_processing():
    made = formed("customer.updated", {"id": "cus_1"}, processing_status="failed")
    assert (made["status"], made["summary"], made["processing_status"]) == ("failed", None, "failed")
    assert formed("customer.updated", None)["status"] == "processed"


def test_an_act_of_ours_has_the_same_form():
    ours = form.own_form(
        TENANT,
        "longshore.subscription.started",
        "lsh_1",
        form.datetime.fromtimestamp(END, form.UTC),
        summary="Started by an admin",
        subscription=Subscription(tenant_id=TENANT, plan_code="pro", status="trialing", seat_count=3),
    )
    theirs = formed("customer.subscription.updated", subscription())
    assert list(ours) == list(theirs)
    assert list(ours["subscription"]) == list(theirs["subscription"])
    assert (ours["status"], ours["subscription"]["seat_count"]) == ("trialing", 3)
