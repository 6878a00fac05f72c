"""Checkout, the portal and the page of an invoice, as a browser without JavaScript uses them."""

import re
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import stripe


def session_for(api, plan, **more):
    params = {
        "mode": "subscription",
        "line_items": [{"price": plan.seat, "quantity": 2}],
        "success_url": "http://app/done?id={CHECKOUT_SESSION_ID}",
    }
    return api.checkout.sessions.create(params | more)


def submit(url, **form):
    return httpx.post(url, data=form)


def test_paying_starts_the_subscription_and_leads_back(api, plan, customer):
    payer = customer(None)
    data = {"metadata": {"tenant_id": "t"}}
    session = session_for(
        api, plan, customer=payer.id, client_reference_id="t", subscription_data=data, metadata={"a": "b"}
    )
    assert (session.status, session.payment_status, session.amount_total) == ("open", "unpaid", 19800)
    page = httpx.get(session.url)
    assert "198.00 USD" in page.text and "<script" not in page.text
    cards = re.findall(r'option value="(\w+)"', page.text)
    assert cards[0] == "pm_card_visa" and "pm_card_chargeDeclined" in cards

    answer = submit(session.url, action="pay", card=cards[0])
    assert (answer.status_code, answer.headers["Location"]) == (303, f"http://app/done?id={session.id}")
    done = api.checkout.sessions.retrieve(session.id, {"expand": ["subscription", "line_items"]})
    assert (done.status, done.payment_status, done.customer, done.url) == ("complete", "paid", payer.id, None)
    assert (done.subscription.status, done.subscription.metadata.to_dict()) == ("active", {"tenant_id": "t"})
    assert done.subscription.default_payment_method and done.line_items.data[0].quantity == 2
    types = [event.type for event in api.events.list({"limit": 20}).data]
    assert types[0] == "checkout.session.completed" and "customer.subscription.created" in types
    assert submit(session.url, action="pay", card="pm_card_visa").status_code == 200, (
        "the page says that it is complete"
    )
    assert len(api.subscriptions.list({"customer": payer.id}).data) == 1


@pytest.mark.parametrize(
    "form", [{"action": "decline"}, {"action": "pay", "card": "pm_card_chargeCustomerFail"}, {"action": "pay"}]
)
def test_a_refused_card_stays_on_the_page_and_starts_nothing(api, plan, customer, form):
    payer = customer(None)
    session = session_for(api, plan, customer=payer.id)
    page = submit(session.url, **form)
    assert page.status_code == 200 and 'role="alert"' in page.text
    assert api.checkout.sessions.retrieve(session.id).status == "open"
    assert api.subscriptions.list({"customer": payer.id, "status": "all"}).data == []
    assert submit(session.url, action="pay", card="pm_card_visa").status_code == 303


def test_a_trial_asks_for_a_card_only_if_it_must(api, plan):
    trial = {"trial_period_days": 14, "trial_settings": {"end_behavior": {"missing_payment_method": "cancel"}}}
    asked = session_for(api, plan, subscription_data=trial)
    assert asked.amount_total == 0 and 'name="card"' in httpx.get(asked.url).text
    free = session_for(api, plan, subscription_data=trial, payment_method_collection="if_required")
    assert 'name="card"' not in httpx.get(free.url).text
    assert submit(free.url, action="pay", email="eve@example.com").status_code == 303
    done = api.checkout.sessions.retrieve(free.id, {"expand": ["subscription", "customer"]})
    assert (done.payment_status, done.subscription.status) == ("no_payment_required", "trialing")
    assert done.customer.email == done.customer_details.email == "eve@example.com"


def test_a_promotion_code_is_typed_on_the_page(api, plan):
    coupon = api.coupons.create({"amount_off": 5000, "currency": "usd", "duration": "forever"})
    api.promotion_codes.create({"promotion": {"type": "coupon", "coupon": coupon.id}, "code": "FIFTY"})
    session = session_for(api, plan, allow_promotion_codes=True)
    assert "This code is invalid" in submit(session.url, action="pay", card="pm_card_visa", code="NONE").text
    assert submit(session.url, action="pay", card="pm_card_visa", code="fifty").status_code == 303
    done = api.checkout.sessions.retrieve(session.id)
    assert (done.amount_subtotal, done.amount_total, done.total_details.amount_discount) == (19800, 14800, 5000)


def test_a_session_expires(api, plan, control):
    session, other = session_for(api, plan), session_for(api, plan)
    assert api.checkout.sessions.expire(other.id).status == "expired"
    with pytest.raises(stripe.InvalidRequestError, match="can be expired"):
        api.checkout.sessions.expire(other.id)
    control("advance", span="1 day")
    expired = api.checkout.sessions.retrieve(session.id)
    assert (expired.status, expired.url) == ("expired", None)
    assert "expired" in submit(f"{other.url}", action="pay", card="pm_card_visa").text
    told = [event.data.object.id for event in api.events.list({"type": "checkout.session.expired", "limit": 100}).data]
    assert (told.count(session.id), told.count(other.id)) == (1, 1)


def test_pressing_the_button_fifty_times_starts_one_subscription(api, plan, customer):
    payer = customer(None)
    session = session_for(api, plan, customer=payer.id)
    with ThreadPoolExecutor(50) as pool:
        answers = list(
            pool.map(lambda _: submit(session.url, action="pay", card="pm_card_visa").status_code, range(50))
        )
    assert answers.count(303) == 1
    assert len(api.subscriptions.list({"customer": payer.id}).data) == 1


def test_what_a_page_shows_is_escaped(api):
    product = api.products.create({"name": "<script>alert(1)</script>"})
    price = api.prices.create(
        {"product": product.id, "currency": "usd", "unit_amount": 1, "recurring": {"interval": "month"}}
    )
    params = {"mode": "subscription", "line_items": [{"price": price.id}], "success_url": "http://app/"}
    assert "<script" not in httpx.get(api.checkout.sessions.create(params).url).text


def test_the_portal_changes_the_card_cancels_and_undoes(api, plan, customer):
    payer = customer("renewalDeclined")
    subscription = api.subscriptions.create({"customer": payer.id, "items": [{"price": plan.seat}]})
    foreign = api.subscriptions.create({"customer": customer().id, "items": [{"price": plan.seat}]})
    session = api.billing_portal.sessions.create({"customer": payer.id, "return_url": "http://app/back"})
    page = httpx.get(session.url)
    assert "Cancel" in page.text and "http://app/back" in page.text and "9001" in page.text

    assert submit(session.url, action="card", card="pm_card_mastercard").status_code == 303
    card = api.customers.retrieve(payer.id, {"expand": ["invoice_settings.default_payment_method"]})
    assert card.invoice_settings.default_payment_method.card.brand == "mastercard"
    assert submit(session.url, action="cancel", subscription=subscription.id).status_code == 303
    assert api.subscriptions.retrieve(subscription.id).cancel_at_period_end
    assert "Don't cancel" in httpx.get(session.url).text.replace("&#39;", "'")
    submit(session.url, action="undo", subscription=subscription.id)
    assert not api.subscriptions.retrieve(subscription.id).cancel_at_period_end
    submit(session.url, action="cancel", subscription=foreign.id)
    assert not api.subscriptions.retrieve(foreign.id).cancel_at_period_end, "it is another customer's"


def test_an_open_invoice_is_paid_on_its_page(api, plan, customer):
    payer = customer("chargeCustomerFail")
    subscription = api.subscriptions.create(
        {"customer": payer.id, "items": [{"price": plan.seat}], "expand": ["latest_invoice"]}
    )
    page = subscription.latest_invoice.hosted_invoice_url
    assert "99.00 USD" in httpx.get(page).text
    assert 'role="alert"' in submit(page, card="pm_card_chargeCustomerFail").text
    assert submit(page, card="pm_card_visa").status_code == 303
    assert api.subscriptions.retrieve(subscription.id).status == "active"
    assert 'name="card"' not in httpx.get(page).text


@pytest.mark.parametrize("path", ["checkout/cs_none", "portal/bps_none", "invoices/in_none"])
def test_a_page_that_is_not_there_is_a_404(part, path):
    assert httpx.get(f"{part.url}/{path}").status_code == 404
    assert httpx.post(f"{part.url}/{path}", data={"action": "pay"}).status_code == 404
