"""Every answer of the stand-in is what the SDK's classes say of it."""

import json

import httpx
import pytest

from devstack.parts.stripe import KEY
from devstack.stripe.routes import OPERATIONS
from tests.support import sdk_types

EXPANDED = {
    "invoice": ["payments", "confirmation_secret", "customer", "payments.data.payment.payment_intent"],
    "subscription": ["latest_invoice", "customer", "default_payment_method", "items.data.price.product", "discounts"],
    "customer": ["subscriptions", "invoice_settings.default_payment_method"],
    "checkout.session": ["line_items", "subscription", "invoice", "customer"],
    "price": ["tiers", "product"],
    "promotion_code": ["promotion.coupon"],
}


@pytest.fixture(scope="module")
def account(api, plan, part):
    """An account with at least one object of every kind."""
    clock = api.test_helpers.test_clocks.create({"frozen_time": 1_800_000_000, "name": "A clock"})
    card = {"payment_method": "pm_card_visa", "invoice_settings": {"default_payment_method": "pm_card_visa"}}
    customer = api.customers.create({"email": "ada@example.com", "name": "Ada", "address": {"city": "Oslo"}, **card}).id
    api.customers.create({"test_clock": clock.id, **card})
    coupon = api.coupons.create({"percent_off": 10, "duration": "forever"})
    code = api.promotion_codes.create({"promotion": {"type": "coupon", "coupon": coupon.id}, "code": "TEN"})
    tiers = [{"up_to": 10, "unit_amount": 0}, {"up_to": "inf", "unit_amount_decimal": "0.5", "flat_amount": 100}]
    recurring = {"interval": "month", "usage_type": "metered", "meter": plan.meter.id}
    tiered = {"billing_scheme": "tiered", "tiers_mode": "graduated", "tiers": tiers, "recurring": recurring}
    api.prices.create({"product": plan.product, "currency": "usd", **tiered})
    items = [{"price": plan.seat, "quantity": 2}, {"price": plan.use}]
    subscription = api.subscriptions.create(
        {"customer": customer, "items": items, "discounts": [{"promotion_code": code.id}], "metadata": {"plan": "pro"}}
    )
    api.subscriptions.create({"customer": customer, "items": [{"price": plan.big}], "trial_period_days": 14})
    failing = api.customers.create(
        {
            "payment_method": "pm_card_chargeCustomerFail",
            "invoice_settings": {"default_payment_method": "pm_card_chargeCustomerFail"},
        }
    )
    api.subscriptions.create({"customer": failing.id, "items": items})
    event = {"event_name": "tokens", "payload": {"stripe_customer_id": customer, "value": "30"}}
    answers = [api.billing.meter_events.create(event | {"identifier": "one"})]
    answers.append(
        api.billing.meter_event_adjustments.create(
            {"event_name": "tokens", "type": "cancel", "cancel": {"identifier": "one"}}
        )
    )
    api.billing.meter_events.create(event)
    change = {
        "items": [{"id": subscription["items"].data[0].id, "quantity": 5}],
        "proration_behavior": "always_invoice",
    }
    answers.append(api.invoices.create_preview({"subscription": subscription.id, "subscription_details": change}))
    answers.append(api.invoices.create_preview({"subscription": subscription.id}))
    api.subscriptions.update(subscription.id, change)
    session = {
        "mode": "subscription",
        "line_items": [{"price": plan.seat, "quantity": 1}],
        "success_url": "http://x/done",
    }
    open_session = api.checkout.sessions.create(session | {"customer": customer, "metadata": {"a": "b"}})
    done = api.checkout.sessions.create(session | {"allow_promotion_codes": True})
    page = httpx.post(done.url, data={"action": "pay", "card": "pm_card_visa", "email": "eve@example.com"})
    assert page.status_code == 303
    api.billing_portal.configurations.create({"features": {"invoice_history": {"enabled": True}}})
    flow = {"type": "subscription_cancel", "subscription_cancel": {"subscription": subscription.id}}
    answers.append(api.billing_portal.sessions.create({"customer": customer, "flow_data": flow}))
    endpoint = api.webhook_endpoints.create({"url": "http://127.0.0.1:9/x", "enabled_events": ["price.created"]})
    answers.append(endpoint)
    summaries = {"customer": customer, "start_time": 1_700_000_040, "end_time": 2_000_000_040}
    answers += api.billing.meters.event_summaries.list(plan.meter.id, summaries).data
    assert len(answers) >= 7
    ids = {"customer": customer, "invoice": subscription.latest_invoice, "checkout": open_session.id}
    return [json.loads(str(answer)) for answer in answers], ids


def get(part, path, **params):
    answer = httpx.get(f"{part.url}{path}", params=params, headers={"Authorization": f"Bearer {KEY}"}, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()


def lists(ids):
    """Every list of the API, and what it has to be told."""
    needed = {
        "/v1/payment_methods": {"customer": ids["customer"]},
        "/v1/subscriptions": {"status": "all"},
        "/v1/invoices/{a}/lines": ids["invoice"],
        "/v1/checkout/sessions/{a}/line_items": ids["checkout"],
        "/v1/customers/{a}/payment_methods": ids["customer"],
    }
    special = ("/v1/account", "/v1/subscription_items")
    for operation in OPERATIONS:
        path, needs = operation.path, needed.get(operation.path, {})
        if operation.method == "GET" and path not in special and ("{a}" not in path or isinstance(needs, str)):
            yield (path.replace("{a}", needs), {}) if isinstance(needs, str) else (path, needs)


def test_every_object_in_every_list_is_of_its_class(part, account):
    wrong, kinds = [], set()
    for path, params in lists(account[1]):
        answer = get(part, path, limit=100, **params)
        if path != "/v1/billing/meters/{a}/event_summaries":
            assert answer["data"], f"{path}: nothing to check"
        kinds |= {item["object"] for item in answer["data"]}
        wrong += sdk_types.faults(answer, path)
    assert not wrong, "\n".join(wrong)
    assert len(kinds) >= 17, kinds


def test_answers_that_no_list_shows_are_of_their_class(account):
    assert [fault for answer in account[0] for fault in sdk_types.faults(answer)] == []


def test_what_events_tell_is_of_its_class(part, account):
    events = get(part, "/v1/events", limit=100)["data"]
    wrong = [fault for event in events for fault in sdk_types.faults(event["data"]["object"], event["type"])]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("kind", EXPANDED)
def test_expanded_objects_are_of_their_classes(part, account, kind):
    path = f"/v1/{kind.replace('.', '/')}s"
    params = {f"expand[{number}]": f"data.{field}" for number, field in enumerate(EXPANDED[kind])}
    if kind == "subscription":
        params["status"] = "all"
    answer = get(part, path, limit=100, **params)
    assert answer["data"]
    wrong = sdk_types.faults(answer, path)
    assert not wrong, "\n".join(wrong)


def test_the_account_is_one(part):
    assert sdk_types.faults(get(part, "/v1/account")) == []


def test_the_checker_finds_faults():
    good = {"object": "billing.meter_event", "created": 1, "event_name": "a", "identifier": "b", "livemode": False}
    good |= {"payload": {"value": "1"}, "timestamp": 1}
    assert sdk_types.faults(good) == []
    for name, value in (
        ("created", "1"),
        ("livemode", 0),
        ("payload", {"value": 1}),
        ("extra", 1),
        ("identifier", None),
    ):
        assert sdk_types.faults(good | {name: value}), name
