"""Random histories of subscriptions: whatever happens, the sums are right, and events alone tell how everything is."""

import random

import pytest

from devstack.stripe import (
    changing,
    control,
    customers,
    discounts,
    ending,
    endpoints,
    invoices,
    meters,
    payment_methods,
    products,
    subscriptions,
    time_machine,
)
from devstack.stripe.errors import ApiError
from devstack.stripe.form import Params
from devstack.stripe.store import Store
from devstack.stripe.world import World
from tests.support import sdk_types

DAY = 86400


class History:
    def __init__(self, folder, seed):
        self.random = random.Random(seed)
        self.store = Store(folder / f"{seed}.sqlite")
        self.machine = time_machine.TimeMachine(self.store, "http://standin")
        product = self.do(products.create_product, name="Pro")["id"]
        meter = self.do(meters.create, event_name="t", display_name="T", default_aggregation={"formula": "sum"})["id"]
        price = {"product": product, "currency": "usd", "recurring": {"interval": "month"}}
        tiers = {"0": {"up_to": "3", "flat_amount": "5000"}, "1": {"up_to": "inf", "unit_amount": "1900"}}
        self.prices = [
            self.do(products.create_price, **price, unit_amount="9900")["id"],
            self.do(products.create_price, **price, unit_amount="0")["id"],
            self.do(products.create_price, **price, billing_scheme="tiered", tiers_mode="graduated", tiers=tiers)["id"],
            self.do(products.create_price, **price | {"recurring": {"interval": "year"}}, unit_amount="99900")["id"],
        ]
        metered = {"interval": "month", "usage_type": "metered", "meter": meter}
        self.use = self.do(products.create_price, **price | {"recurring": metered}, unit_amount_decimal="0.7")["id"]
        self.coupon = self.do(discounts.create_coupon, percent_off="33.3", duration="once")["id"]
        self.customers = [self.customer() for _ in range(3)]

    def customer(self):
        card = self.random.choice(["visa", "chargeCustomerFail", "renewalDeclined"])
        default = {"default_payment_method": f"pm_card_{card}"}
        return self.do(customers.create, payment_method=f"pm_card_{card}", invoice_settings=default)["id"]

    def do(self, operation, *ids, **form):
        with self.store.transaction():
            return operation(World(self.store, "http://standin"), Params(form), *ids)

    def step(self):
        try:
            self.random.choice(
                [self.start, self.change, self.change, self.end, self.pay, self.report, self.wait, self.card]
            )()
        except ApiError as error:
            if error.status not in (400, 402, 404):
                raise

    def start(self):
        items = {"0": {"price": self.random.choice(self.prices[:3]), "quantity": str(self.random.randint(0, 9))}}
        if self.random.random() < 0.5:
            items["1"] = {"price": self.use}
        extra = self.random.choice([{}, {"trial_period_days": "5"}, {"discounts": {"0": {"coupon": self.coupon}}}])
        behaviour = self.random.choice(["allow_incomplete", "default_incomplete", "error_if_incomplete"])
        self.do(
            subscriptions.create,
            customer=self.random.choice(self.customers),
            items=items,
            payment_behavior=behaviour,
            **extra,
        )

    def any(self, kind):
        return self.random.choice(list(self.store.find(kind)) or [{"id": "none", "items": {"data": [{"id": "none"}]}}])

    def change(self):
        subscription = self.any("subscription")
        item = {"id": subscription["items"]["data"][0]["id"]}
        item |= self.random.choice(
            [{"quantity": str(self.random.randint(0, 9))}, {"price": self.random.choice(self.prices)}]
        )
        form = self.random.choice(
            [
                {"items": {"0": item}},
                {"cancel_at_period_end": "true"},
                {"cancel_at_period_end": "false"},
                {"trial_end": "now"},
            ]
        )
        behaviour = self.random.choice(["always_invoice", "create_prorations", "none"])
        self.do(changing.update, subscription["id"], proration_behavior=behaviour, **form)

    def end(self):
        form = {name: self.random.choice(["true", "false"]) for name in ("prorate", "invoice_now")}
        if self.random.random() < 0.3:
            self.do(ending.cancel, self.any("subscription")["id"], **form)

    def pay(self):
        invoice = self.any("invoice")["id"]
        operation = self.random.choice([invoices.pay, invoices.pay, invoices.void_now, invoices.mark_uncollectible])
        self.do(
            operation,
            invoice,
            **({"paid_out_of_band": "true"} if self.random.random() < 0.2 and operation is invoices.pay else {}),
        )

    def report(self):
        payload = {"stripe_customer_id": self.random.choice(self.customers), "value": str(self.random.randint(1, 5000))}
        self.do(meters.record, event_name="t", payload=payload)

    def card(self):
        customer = self.random.choice(self.customers)
        card = self.random.choice(["visa", "mastercard", "chargeCustomerFail"])
        method = self.do(payment_methods.attach, f"pm_card_{card}", customer=customer)["id"]
        self.do(customers.update, customer, invoice_settings={"default_payment_method": method})

    def wait(self):
        now = World(self.store, "").now()
        self.machine.advance(now + self.random.randint(1, 40) * DAY)


@pytest.fixture(params=range(8))
def history(tmp_path, request):
    history = History(tmp_path, request.param)
    for _ in range(60):
        history.step()
    history.wait()
    assert any(history.store.find("invoice"))
    return history


def test_a_history(history):
    objects_are_of_their_classes(history)
    sums_are_right(history)
    events_tell_how_everything_is(history)
    nothing_is_charged_twice(history)


def objects_are_of_their_classes(history):
    world = World(history.store, "")
    for kind in ("subscription", "invoice", "invoice_payment", "payment_intent", "customer", "event", "discount"):
        for item in history.store.find(kind):
            assert sdk_types.faults(world.shown(item)) == []


def sums_are_right(history):
    for invoice in history.store.find("invoice"):
        lines = invoice["lines"]["data"]
        assert invoice["subtotal"] == sum(line["amount"] for line in lines)
        off = sum(given["amount"] for line in lines for given in line["discount_amounts"])
        assert off == sum(each["amount"] for each in invoice["total_discount_amounts"])
        assert invoice["total"] == invoice["subtotal"] - off
        assert invoice["amount_due"] == max(invoice["total"] + invoice["starting_balance"], 0)
        if invoice["status"] == "paid":
            assert invoice["amount_remaining"] == 0 and invoice["amount_paid"] in (0, invoice["amount_due"])
        if invoice["status"] not in ("draft", "void") and invoice["total"] < 0:
            assert invoice["ending_balance"] <= invoice["total"] + invoice["starting_balance"]
    for payment in history.store.find("payment_intent"):
        invoice = history.store.get(payment["_invoice"])
        assert (payment["status"] == "succeeded") == (invoice["status"] == "paid" and invoice["amount_paid"] > 0)


def events_tell_how_everything_is(history):
    """The last event about an object shows it as it is now, and each begins where the one before ended."""
    world = World(history.store, "")
    last, seen = {}, list(history.store.find("event", oldest_first=True))
    for event in seen:
        last[event["data"]["object"]["id"]] = event["data"]["object"]
    for kind in ("subscription", "invoice", "payment_intent"):
        for item in history.store.find(kind):
            assert last[item["id"]] == world.shown(item), kind
    times = [event["created"] for event in seen]
    assert times == sorted(times)


def nothing_is_charged_twice(history):
    """Periods that are paid in advance follow each other; a period is cut short only by a change that credits the rest."""
    for subscription in history.store.find("subscription"):
        starts = [
            (line["parent"]["subscription_item_details"]["subscription_item"], line["period"]["start"])
            for invoice in history.store.find("invoice", tags=[subscription["id"]], oldest_first=True)
            for line in invoice["lines"]["data"]
            if line["parent"]["subscription_item_details"]["subscription"] == subscription["id"]
            and not line["parent"]["subscription_item_details"]["proration"]
            and line["pricing"]["price_details"]["price"] != history.use
            and invoice["billing_reason"] == "subscription_cycle"
        ]
        assert len(set(starts)) == len(starts)


def test_an_endpoint_hears_of_every_event(tmp_path):
    history = History(tmp_path, 99)
    with history.store.transaction():
        endpoints.register(World(history.store, ""), "http://127.0.0.1:9/", ["whsec_a"])
    before = len(list(history.store.find("event")))
    for _ in range(20):
        history.step()
    assert history.store.rows("select count(*) from delivery")[0][0] == len(list(history.store.find("event"))) - before
    assert control.Control(history.store, "", history.machine, None).state({})["deliveries_waiting"] > 0
