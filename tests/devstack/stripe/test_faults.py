"""Faults on request, the commands, and what a crowd does to it."""

import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import stripe

from tests.devstack.stripe.conftest import connect


def headers(fault):
    return {"headers": {"Standin-Fault": fault}}


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("status=500", stripe.APIError),
        ("status=503", stripe.APIError),
        ("status=429", stripe.RateLimitError),
        ("timeout=0.1", stripe.APIConnectionError),
        ("lost", stripe.APIConnectionError),
    ],
)
def test_a_fault_by_header(api, fault, error):
    with pytest.raises(error):
        api.products.create({"name": fault}, headers(fault))
    made = [product for product in api.products.list({"limit": 100}).data if product.name == fault]
    assert len(made) == (fault == "lost"), "only what is lost was executed"


def test_a_slow_call_does_not_hold_up_others(api, part):
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(api.products.create, {"name": "slow"}, headers("slow=2"))
        started = time.monotonic()
        connect(part).products.list()
        assert not slow.done() or time.monotonic() - started > 2
        assert slow.result().name == "slow"


def test_faults_by_rule_count_for_the_next_calls_that_fit(api, part, control):
    control("fault", operation="POST /v1/products", status=503, times=2)
    api.prices.list()
    for _ in range(2):
        with pytest.raises(stripe.APIError):
            api.products.create({"name": "no"})
    assert api.products.create({"name": "yes"}).name == "yes"
    control("fault", operation="*")
    assert control("fault", clear=True) == {"faults": []}
    control("fault", operation="POST /v1/products", status=500, times=2)
    assert connect(part, max_network_retries=3).products.create({"name": "patient"}).name == "patient"


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("fault", {"status": 200}),
        ("fault", {"kind": "explode"}),
        ("fault", {"times": "x"}),
        ("webhooks", {"nonsense": 1}),
        ("advance", {"span": "soon"}),
        ("advance", {"to": 1}),
        ("advance", {}),
        ("decline", {"customer": "nobody"}),
        ("trigger", {"type": "nonsense"}),
        ("settings", {"after_retries": "forgiven"}),
    ],
)
def test_a_wrong_command_is_a_400_that_says_why(part, name, body):
    answer = httpx.post(f"{part.url}/_standin/{name}", json=body)
    assert answer.status_code == 400 and answer.json()["error"]


def test_a_customer_is_declined_by_its_tenant(api, plan, customer, control):
    payer = customer(metadata={"tenant_id": "tenant-7"})
    control("decline", customer="tenant-7")
    subscription = api.subscriptions.create({"customer": payer.id, "items": [{"price": plan.seat}]})
    assert subscription.status == "incomplete"
    control("decline", customer="tenant-7", declines=False)
    assert api.invoices.pay(subscription.latest_invoice).status == "paid"


def test_an_event_is_triggered_about_an_object_as_it_is(api, plan, customer, control):
    payer = customer()
    mine = api.subscriptions.create({"customer": payer.id, "items": [{"price": plan.seat}]})
    api.subscriptions.create({"customer": customer().id, "items": [{"price": plan.seat}]})
    for type_, of, about in (
        ("customer.subscription.updated", {"customer": payer.id}, mine.id),
        ("invoice.payment_failed", {"subscription": mine.id}, mine.latest_invoice),
        ("customer.updated", {"customer": payer.id}, payer.id),
    ):
        assert control("trigger", type=type_, **of) == {"type": type_, "object": about}
        newest = api.events.list({"limit": 1}).data[0]
        assert (newest.type, newest.data.object.id) == (type_, about)


def test_unknown_paths_and_methods_are_404s_in_stripes_form(part, api):
    from devstack.parts.stripe import KEY

    for method, path in (("GET", "/v1/nothing"), ("DELETE", "/v1/prices/price_1"), ("POST", "/v1/events")):
        answer = httpx.request(method, f"{part.url}{path}", headers={"Authorization": f"Bearer {KEY}"})
        assert answer.status_code == 404 and "Unrecognized request URL" in answer.json()["error"]["message"]


def test_a_crowd_of_meter_events_is_counted_once_each(api, part, plan, customer):
    payer = customer()
    client = connect(part, max_network_retries=4)

    def report(number):
        event = {
            "event_name": "tokens",
            "identifier": f"crowd-{number % 200}",
            "payload": {"stripe_customer_id": payer.id, "value": "3"},
        }
        try:
            client.billing.meter_events.create(event)
        except stripe.InvalidRequestError as error:
            return str(error).partition(": ")[2]
        return "counted"

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(report, range(400)))
    assert answers.count("counted") == 200
    assert {f"An event already exists with identifier crowd-{number}." for number in range(200)} < set(answers)
    minute = int(time.time()) // 60 * 60
    window = {"customer": payer.id, "start_time": minute - 3600, "end_time": minute + 3600}
    (summary,) = api.billing.meters.event_summaries.list(plan.meter.id, window).data
    assert summary.aggregated_value == 600


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"event_name": "unknown"}, "No active meter"),
        ({"payload": {"stripe_customer_id": "cus_none", "value": "1"}}, "No such customer"),
        ({"payload": {"value": "1"}}, "Missing required param"),
        ({"payload": {"stripe_customer_id": "ME", "value": "much"}}, "must be a number"),
        ({"timestamp": 36 * 86400}, "past 35 calendar days"),
        ({"timestamp": -301}, "next 5 minutes"),
    ],
)
def test_a_wrong_meter_event_is_refused(api, plan, customer, change, message):
    event = {"event_name": "tokens", "payload": {"stripe_customer_id": "ME", "value": "1"}} | change
    payload = event["payload"]
    payload |= {name: customer().id for name, value in payload.items() if value == "ME"}
    if "timestamp" in change:
        event["timestamp"] = int(time.time()) - change["timestamp"]
        if change["timestamp"] < 0:
            event["timestamp"] += 60  # the clocks of a slow test do not agree to the second
    with pytest.raises(stripe.InvalidRequestError, match=message):
        api.billing.meter_events.create(event)


def test_a_canceled_meter_event_does_not_count(api, plan, customer):
    payer = customer()
    event = {"event_name": "tokens", "identifier": "wrong", "payload": {"stripe_customer_id": payer.id, "value": "9"}}
    api.billing.meter_events.create(event)
    adjustment = {"event_name": "tokens", "type": "cancel", "cancel": {"identifier": "wrong"}}
    assert api.billing.meter_event_adjustments.create(adjustment).status == "pending"
    minute = int(time.time()) // 60 * 60
    window = {"customer": payer.id, "start_time": minute - 3600, "end_time": minute + 3600}
    assert api.billing.meters.event_summaries.list(plan.meter.id, window).data[0].aggregated_value == 0


def test_a_lookup_key_moves_from_one_price_to_another(api, plan):
    def price(amount, **more):
        recurring = {"interval": "month"}
        return api.prices.create(
            {
                "product": plan.product,
                "currency": "usd",
                "unit_amount": amount,
                "recurring": recurring,
                "lookup_key": "pro",
                **more,
            }
        )

    first = price(1)
    with pytest.raises(stripe.InvalidRequestError, match="already uses that lookup key"):
        price(2)
    second = price(2, transfer_lookup_key=True)
    assert [found.id for found in api.prices.list({"lookup_keys": ["pro"], "active": True}).data] == [second.id]
    assert api.prices.retrieve(first.id).lookup_key is None
