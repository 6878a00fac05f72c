"""Subscriptions and their invoices, by the SDK over HTTP."""

import pytest
import stripe


def start(api, plan, customer, price=None, **more):
    items = [{"price": price or plan.seat, "quantity": 2}]
    return api.subscriptions.create({"customer": customer.id, "items": items, "expand": ["latest_invoice"], **more})


def item_of(subscription):
    return subscription["items"].data[0]


def total(preview):
    return preview.total, [line.amount for line in preview.lines.data]


def test_a_subscription_with_a_card_is_active_and_paid(api, plan, customer):
    subscription = start(api, plan, customer(), metadata={"tenant_id": "t"})
    invoice, item = subscription.latest_invoice, item_of(subscription)
    assert (subscription.status, invoice.status, invoice.amount_paid) == ("active", "paid", 19800)
    assert invoice.billing_reason == "subscription_create" and invoice.number.endswith("-0001")
    assert invoice.parent.subscription_details.subscription == subscription.id
    assert invoice.parent.subscription_details.metadata.to_dict() == {"tenant_id": "t"}
    assert 28 * 86400 <= item.current_period_end - item.current_period_start <= 31 * 86400
    assert not hasattr(subscription, "current_period_end")


@pytest.mark.parametrize(
    ("behaviour", "card", "status", "invoice"),
    [
        ("allow_incomplete", "chargeCustomerFail", "incomplete", "open"),
        ("allow_incomplete", "authenticationRequired", "incomplete", "open"),
        ("default_incomplete", "visa", "incomplete", "open"),
        ("default_incomplete", None, "incomplete", "open"),
        ("error_if_incomplete", "visa", "active", "paid"),
        ("allow_incomplete", "renewalDeclined", "active", "paid"),
    ],
)
def test_the_payment_behaviour_decides_what_a_payment_means(api, plan, customer, behaviour, card, status, invoice):
    subscription = start(api, plan, customer(card), payment_behavior=behaviour)
    assert (subscription.status, subscription.latest_invoice.status) == (status, invoice)


def test_a_declined_card_makes_nothing_if_it_must_not_be_incomplete(api, plan, customer):
    payer = customer("chargeCustomerFail")
    before = len(api.events.list({"limit": 100}).data)
    with pytest.raises(stripe.CardError) as error:
        start(api, plan, payer, payment_behavior="error_if_incomplete")
    assert (error.value.code, error.value.error.decline_code) == ("card_declined", "generic_decline")
    assert error.value.http_status == 402
    assert api.subscriptions.list({"customer": payer.id, "status": "all"}).data == []
    assert len(api.events.list({"limit": 100}).data) == before


def test_without_a_payment_method_it_is_refused(api, plan, customer):
    with pytest.raises(stripe.InvalidRequestError, match="no attached payment source"):
        start(api, plan, customer(None))


def test_an_incomplete_one_becomes_active_by_paying(api, plan, customer):
    subscription = start(api, plan, customer(None), payment_behavior="default_incomplete")
    invoice = api.invoices.retrieve(subscription.latest_invoice.id, {"expand": ["payments", "confirmation_secret"]})
    intent = invoice.payments.data[0].payment.payment_intent
    assert invoice.confirmation_secret.client_secret.startswith(intent)
    with pytest.raises(stripe.CardError):
        api.payment_intents.confirm(intent, {"payment_method": "pm_card_chargeCustomerFail"})
    assert api.subscriptions.retrieve(subscription.id).status == "incomplete"
    assert api.payment_intents.confirm(intent, {"payment_method": "pm_card_visa"}).status == "succeeded"
    assert api.subscriptions.retrieve(subscription.id).status == "active"
    assert api.invoices.retrieve(invoice.id).status == "paid"


def test_a_trial_costs_nothing_and_needs_no_card(api, plan, customer):
    subscription = start(api, plan, customer(None), trial_period_days=14)
    assert (subscription.status, subscription.latest_invoice.total, subscription.latest_invoice.status) == (
        "trialing",
        0,
        "paid",
    )
    assert subscription.trial_end - subscription.trial_start == 14 * 86400
    assert item_of(subscription).current_period_end == subscription.trial_end


@pytest.mark.parametrize("card", ["chargeDeclined", "chargeDeclinedInsufficientFunds", "chargeDeclinedExpiredCard"])
def test_a_bad_card_cannot_be_attached(api, customer, card):
    owner = customer(None)
    with pytest.raises(stripe.CardError):
        api.payment_methods.attach(f"pm_card_{card}", {"customer": owner.id})
    assert api.customers.payment_methods.list(owner.id).data == []


def test_a_card_of_another_customer_pays_for_nobody_else(api, plan, customer):
    other = customer()
    foreign = other.invoice_settings.default_payment_method
    mine = customer(None)
    with pytest.raises(stripe.InvalidRequestError):
        start(api, plan, mine, default_payment_method=foreign)
    with pytest.raises(stripe.InvalidRequestError, match="already been attached"):
        api.payment_methods.attach(foreign, {"customer": mine.id})


def test_a_preview_and_the_change_at_the_same_moment_cost_the_same(api, plan, customer, clock):
    frozen = clock()
    subscription = start(api, plan, customer(test_clock=frozen.id))
    item = item_of(subscription)
    frozen.forward(days=10)
    at = frozen.now
    change = {
        "items": [{"id": item.id, "price": plan.big, "quantity": 3}],
        "proration_behavior": "always_invoice",
        "proration_date": at,
    }
    preview = api.invoices.create_preview({"subscription": subscription.id, "subscription_details": change})
    length, left = item.current_period_end - item.current_period_start, item.current_period_end - at
    assert total(preview) == (
        round(59700 * left / length) - round(19800 * left / length),
        [-round(19800 * left / length), round(59700 * left / length)],
    )
    assert api.subscriptions.retrieve(subscription.id)["items"].data[0].quantity == 2, "a preview changes nothing"
    assert api.invoices.list({"subscription": subscription.id}).data[0].id == subscription.latest_invoice.id
    changed = api.subscriptions.update(subscription.id, {**change, "expand": ["latest_invoice"]})
    assert total(changed.latest_invoice) == total(preview) and changed.latest_invoice.status == "paid"
    assert changed.latest_invoice.billing_reason == "subscription_update"
    assert all(line.parent.subscription_item_details.proration for line in changed.latest_invoice.lines.data)
    assert item_of(changed).price.id == plan.big


def test_prorations_wait_for_the_next_invoice_unless_invoiced_at_once(api, plan, customer, clock):
    frozen = clock()
    subscription = start(api, plan, customer(test_clock=frozen.id))
    item = item_of(subscription)
    frozen.forward(days=15)
    api.subscriptions.update(subscription.id, {"items": [{"id": item.id, "quantity": 4}]})
    assert len(api.invoices.list({"subscription": subscription.id}).data) == 1
    upcoming = api.invoices.create_preview({"subscription": subscription.id})
    amounts = [line.amount for line in upcoming.lines.data]
    assert upcoming.next_payment_attempt == item.current_period_end + 3600
    assert len(amounts) == 3 and amounts[0] < 0 < amounts[1] and amounts[2] == 4 * 9900
    quiet = {"items": [{"id": item.id, "quantity": 5}], "proration_behavior": "none"}
    api.subscriptions.update(subscription.id, quiet)
    upcoming = api.invoices.create_preview({"subscription": subscription.id})
    assert [line.amount for line in upcoming.lines.data] == [*amounts[:2], 5 * 9900]


def test_a_credit_is_kept_for_later_invoices(api, plan, customer, clock):
    frozen = clock()
    subscription = start(api, plan, customer(test_clock=frozen.id))
    frozen.forward(days=10)
    fewer = {"items": [{"id": item_of(subscription).id, "quantity": 1}], "proration_behavior": "always_invoice"}
    changed = api.subscriptions.update(subscription.id, {**fewer, "expand": ["latest_invoice", "customer"]})
    assert changed.latest_invoice.total < 0 and changed.latest_invoice.amount_due == 0
    assert changed.customer.balance == changed.latest_invoice.total
    frozen.forward(days=21, hours=2)
    (renewal,) = [
        i for i in api.invoices.list({"subscription": subscription.id}).data if i.billing_reason == "subscription_cycle"
    ]
    assert renewal.amount_paid == 9900 + changed.latest_invoice.total
    assert api.customers.retrieve(changed.customer.id).balance == 0


def test_another_interval_begins_a_new_period_and_is_paid_at_once(api, plan, customer, clock):
    frozen = clock()
    subscription = start(api, plan, customer(test_clock=frozen.id))
    frozen.forward(days=10)
    items = [{"id": item_of(subscription).id, "price": plan.year, "quantity": 1}]
    changed = api.subscriptions.update(subscription.id, {"items": items, "expand": ["latest_invoice"]})
    assert item_of(changed).current_period_start == frozen.now
    assert item_of(changed).current_period_end - frozen.now in (365 * 86400, 366 * 86400)
    assert [line.amount > 0 for line in changed.latest_invoice.lines.data] == [False, True]


def test_from_free_to_paid_begins_a_new_period(api, plan, customer):
    subscription = start(api, plan, customer(None), price=plan.free)
    assert subscription.status == "active" and subscription.latest_invoice.amount_due == 0
    items = [{"id": item_of(subscription).id, "price": plan.seat}]
    with pytest.raises(stripe.InvalidRequestError, match="no attached payment source"):
        api.subscriptions.update(subscription.id, {"items": items})
    card = api.payment_methods.attach("pm_card_visa", {"customer": subscription.customer})
    changed = api.subscriptions.update(
        subscription.id, {"items": items, "default_payment_method": card.id, "expand": ["latest_invoice"]}
    )
    assert changed.latest_invoice.amount_paid == 19800


def test_a_change_that_cannot_be_paid_is_undone_or_past_due(api, plan, customer, control):
    payer = customer()
    subscription = start(api, plan, payer)
    change = {"items": [{"id": item_of(subscription).id, "quantity": 9}], "proration_behavior": "always_invoice"}
    control("decline", customer=payer.id)
    with pytest.raises(stripe.CardError):
        api.subscriptions.update(subscription.id, change | {"payment_behavior": "error_if_incomplete"})
    assert item_of(api.subscriptions.retrieve(subscription.id)).quantity == 2
    assert api.subscriptions.update(subscription.id, change).status == "past_due"
    control("decline", customer=payer.id, declines=False)
    invoice = api.subscriptions.retrieve(subscription.id).latest_invoice
    assert api.invoices.pay(invoice).status == "paid"
    assert api.subscriptions.retrieve(subscription.id).status == "active"


def test_cancel_at_period_end_and_undo(api, plan, customer):
    subscription = start(api, plan, customer())
    ending = api.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    assert (ending.status, ending.cancel_at) == ("active", item_of(subscription).current_period_end)
    assert ending.cancellation_details.reason == "cancellation_requested" and ending.canceled_at
    undone = api.subscriptions.update(subscription.id, {"cancel_at_period_end": False})
    assert (undone.cancel_at, undone.canceled_at, undone.cancellation_details.reason) == (None, None, None)


def test_a_canceled_one_is_over(api, plan, customer):
    subscription = start(api, plan, customer())
    canceled = api.subscriptions.cancel(subscription.id, {"cancellation_details": {"comment": "bye"}})
    assert canceled.status == "canceled" and canceled.ended_at and canceled.cancellation_details.comment == "bye"
    with pytest.raises(stripe.InvalidRequestError) as error:
        api.subscriptions.cancel(subscription.id)
    assert (error.value.http_status, error.value.code) == (404, "resource_missing")
    with pytest.raises(stripe.InvalidRequestError, match="canceled subscription"):
        api.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    assert api.subscriptions.list({"customer": subscription.customer}).data == []
    assert len(api.subscriptions.list({"customer": subscription.customer, "status": "canceled"}).data) == 1


def test_a_canceled_one_can_credit_and_invoice_at_once(api, plan, customer, clock):
    frozen = clock()
    subscription = start(api, plan, customer(test_clock=frozen.id))
    frozen.forward(days=15)
    canceled = api.subscriptions.cancel(
        subscription.id, {"prorate": True, "invoice_now": True, "expand": ["latest_invoice"]}
    )
    assert canceled.latest_invoice.total < 0 and canceled.latest_invoice.id != subscription.latest_invoice.id


def test_a_credit_of_a_canceled_one_is_on_the_customers_next_invoice(api, plan, customer, clock):
    frozen = clock()
    payer = customer(test_clock=frozen.id)
    old = start(api, plan, payer)
    frozen.forward(days=10)
    api.subscriptions.cancel(old.id, {"prorate": True})
    invoice = start(api, plan, payer, price=plan.big).latest_invoice
    credit, price = (line.amount for line in invoice.lines.data)
    assert credit < 0 < price and invoice.amount_paid == price + credit


def test_deleting_a_customer_ends_its_subscription(api, plan, customer):
    subscription = start(api, plan, customer())
    assert api.customers.delete(subscription.customer).deleted
    assert api.customers.retrieve(subscription.customer).deleted
    assert api.subscriptions.retrieve(subscription.id).status == "canceled"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "Missing required param: customer"),
        ({"customer": "cus_none"}, "No such customer"),
        ({"quantity": 3}, "unknown parameter: quantity"),
        ({"items": [{"price": "price_none"}]}, "No such price"),
        ({"items": []}, "at least one active item"),
        ({"items": [{"price": "USE", "quantity": 1}]}, "quantity when the price is metered"),
        ({"items": [{"price": "SEAT"}, {"price": "YEAR"}]}, "interval fields must match"),
        ({"items": [{"price": "SEAT", "quantity": "x"}]}, "Invalid integer"),
        ({"payment_behavior": "maybe"}, "must be one of"),
        ({"trial_period_days": -1}, "greater than or equal"),
        ({"expand": ["nothing"]}, "cannot be expanded"),
    ],
)
def test_wrong_parameters_are_refused(api, plan, customer, params, message):
    names = {"USE": plan.use, "SEAT": plan.seat, "YEAR": plan.year}
    whole = {"customer": customer().id, "items": [{"price": plan.seat}]} | params
    for item in whole["items"]:
        item["price"] = names.get(item["price"], item["price"])
    if not params:
        del whole["customer"]
    with pytest.raises(stripe.InvalidRequestError, match=message):
        api.subscriptions.create(whole)


def test_another_key_or_none_is_a_401(part):
    from tests.devstack.stripe.conftest import connect

    for key in ("sk_test_other_key_1234", ""):
        client = stripe.StripeClient(key or "x", base_addresses={"api": part.url}, max_network_retries=0).v1
        with pytest.raises(stripe.AuthenticationError):
            client.customers.list()
    assert connect(part).customers.list().object == "list"


def test_a_discount_is_on_the_invoices(api, plan, customer):
    coupon = api.coupons.create({"percent_off": 25, "duration": "once"})
    code = api.promotion_codes.create(
        {"promotion": {"type": "coupon", "coupon": coupon.id}, "code": "SAVE", "max_redemptions": 1}
    )
    assert api.promotion_codes.list({"code": "save", "active": True}).data[0].id == code.id
    subscription = start(api, plan, customer(), discounts=[{"promotion_code": code.id}])
    invoice = subscription.latest_invoice
    assert (invoice.subtotal, invoice.total, invoice.total_discount_amounts[0].amount) == (19800, 14850, 4950)
    assert api.invoices.create_preview({"subscription": subscription.id}).total == 19800, "it counts once"
    with pytest.raises(stripe.InvalidRequestError, match="no longer active"):
        start(api, plan, customer(), discounts=[{"promotion_code": code.id}])
