"""Time moves by command: renewals, ends of trials, retries, expiry; each in order and once."""

from collections import Counter
from datetime import UTC, datetime

import httpx
import pytest
import stripe

from devstack.stripe import periods
from tests.devstack.stripe.conftest import eventually

FEBRUARY = int(datetime(2027, 1, 31, 10, tzinfo=UTC).timestamp())


def start(api, plan, customer, **more):
    items = [{"price": plan.seat, "quantity": 1}]
    return api.subscriptions.create({"customer": customer.id, "items": items, **more})


def item_of(api, subscription):
    return api.subscriptions.retrieve(subscription.id)["items"].data[0]


def events(api, of):
    """The types of all events about an object, oldest first."""
    found = [event for event in api.events.list({"limit": 100}).auto_paging_iter() if of in str(event.data.object)]
    return [event.type for event in reversed(found)]


def test_a_year_of_renewals_keeps_the_day_and_makes_one_invoice_a_month(api, plan, customer, clock):
    frozen = clock(FEBRUARY)
    subscription = start(api, plan, customer(test_clock=frozen.id))
    frozen.to(periods.add(FEBRUARY, "year", 1) - 1)
    frozen.forward(hours=2)
    invoices = api.invoices.list({"subscription": subscription.id, "limit": 100}).data[::-1]
    assert [invoice.billing_reason for invoice in invoices] == ["subscription_create"] + ["subscription_cycle"] * 12
    assert {(invoice.status, invoice.amount_paid) for invoice in invoices} == {("paid", 9900)}
    starts = [datetime.fromtimestamp(invoice.lines.data[0].period.start, UTC) for invoice in invoices]
    assert [(moment.month, moment.day) for moment in starts][:5] == [(1, 31), (2, 28), (3, 31), (4, 30), (5, 31)]
    numbers = [int(invoice.number.split("-")[1]) for invoice in invoices]
    assert numbers == list(range(1, 14))
    times = [
        event.created
        for event in api.events.list({"limit": 100}).auto_paging_iter()
        if subscription.id in str(event.data.object)
    ]
    assert times == sorted(times, reverse=True) and len(set(times)) > 12, "events have the time at which they happened"


def test_a_renewal_is_a_draft_for_an_hour(api, plan, customer, clock):
    frozen = clock()
    subscription = start(api, plan, customer(test_clock=frozen.id))
    frozen.to(item_of(api, subscription).current_period_end)
    invoice = api.invoices.list({"subscription": subscription.id}).data[0]
    assert (invoice.status, invoice.number, invoice.automatically_finalizes_at) == ("draft", None, frozen.now + 3600)
    assert item_of(api, subscription).current_period_start == frozen.now
    frozen.forward(hours=1)
    assert api.invoices.retrieve(invoice.id).status == "paid"


def test_use_is_on_the_invoice_of_its_period_and_what_comes_within_the_hour_too(api, plan, customer, clock):
    frozen = clock()
    payer = customer(test_clock=frozen.id)
    subscription = api.subscriptions.create({"customer": payer.id, "items": [{"price": plan.use}]})

    def use(value, at):
        payload = {"stripe_customer_id": payer.id, "value": str(value)}
        api.billing.meter_events.create({"event_name": "tokens", "payload": payload, "timestamp": at})

    end = item_of(api, subscription).current_period_end
    use(1000, frozen.now)
    frozen.to(end)
    use(500, end - 1)
    use(7000, end)  # of the next period
    frozen.forward(hours=1)
    invoice = api.invoices.list({"subscription": subscription.id}).data[0]
    (line,) = invoice.lines.data
    assert (line.quantity, line.amount, invoice.amount_paid) == (1500, 75, 75)
    assert (line.period.start, line.period.end) == (1_800_000_000, end)


@pytest.mark.parametrize(
    ("missing", "card", "status"),
    [
        ("create_invoice", "visa", "active"),
        ("create_invoice", None, "past_due"),
        ("cancel", None, "canceled"),
        ("pause", None, "paused"),
    ],
)
def test_the_end_of_a_trial(api, plan, customer, clock, missing, card, status):
    frozen = clock()
    settings = {"end_behavior": {"missing_payment_method": missing}}
    payer = customer(card, test_clock=frozen.id)
    subscription = start(api, plan, payer, trial_period_days=14, trial_settings=settings)
    frozen.forward(days=10)
    assert "customer.subscription.trial_will_end" not in events(api, subscription.id)
    frozen.forward(days=2)
    frozen.forward(days=2, hours=1)
    assert api.subscriptions.retrieve(subscription.id).status == status
    assert Counter(events(api, subscription.id))["customer.subscription.trial_will_end"] == 1


def test_retries_in_three_weeks_then_the_end(api, plan, customer, clock):
    frozen = clock()
    subscription = start(api, plan, customer("renewalDeclined", test_clock=frozen.id))
    end = item_of(api, subscription).current_period_end
    frozen.to(end + 3600)
    assert api.subscriptions.retrieve(subscription.id).status == "past_due"
    invoice = api.invoices.list({"subscription": subscription.id}).data[0]
    assert (invoice.status, invoice.attempt_count, invoice.next_payment_attempt) == ("open", 1, frozen.now + 3 * 86400)
    frozen.forward(days=20)
    assert api.invoices.retrieve(invoice.id).attempt_count == 3
    frozen.forward(days=1)
    over = api.subscriptions.retrieve(subscription.id)
    assert (over.status, over.cancellation_details.reason) == ("canceled", "payment_failed")
    invoice = api.invoices.retrieve(invoice.id)
    assert (invoice.attempt_count, invoice.status, invoice.next_payment_attempt) == (4, "open", None)
    assert Counter(events(api, invoice.id))["invoice.payment_failed"] == 4
    frozen.forward(days=60)
    assert api.invoices.list({"subscription": subscription.id}).data[0].id == invoice.id, "nothing follows the end"


def test_a_new_card_ends_the_retries(api, plan, customer, clock):
    frozen = clock()
    payer = customer("renewalDeclined", test_clock=frozen.id)
    subscription = start(api, plan, payer)
    frozen.to(item_of(api, subscription).current_period_end + 3600)
    assert api.customers.retrieve(payer.id).delinquent
    card = api.payment_methods.attach("pm_card_visa", {"customer": payer.id})
    api.customers.update(payer.id, {"invoice_settings": {"default_payment_method": card.id}})
    frozen.forward(days=3)
    assert api.subscriptions.retrieve(subscription.id).status == "active"
    assert not api.customers.retrieve(payer.id).delinquent


def test_unpaid_instead_of_canceled_if_the_account_says_so(api, plan, customer, clock, control):
    control("settings", after_retries="unpaid")
    frozen = clock()
    subscription = start(api, plan, customer("renewalDeclined", test_clock=frozen.id))
    frozen.to(item_of(api, subscription).current_period_end + 3600)
    frozen.forward(days=21)
    assert api.subscriptions.retrieve(subscription.id).status == "unpaid"
    frozen.forward(days=31)
    newest = api.invoices.list({"subscription": subscription.id}).data[0]
    assert (newest.status, newest.auto_advance) == ("draft", False)
    control("settings", after_retries="canceled")


def test_the_end_of_the_period_ends_what_was_canceled_for_it(api, plan, customer, clock):
    frozen = clock()
    subscription = start(api, plan, customer(test_clock=frozen.id))
    api.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    end = item_of(api, subscription).current_period_end
    frozen.to(end - 1)
    assert api.subscriptions.retrieve(subscription.id).status == "active"
    frozen.to(end)
    over = api.subscriptions.retrieve(subscription.id)
    assert (over.status, over.ended_at) == ("canceled", end)
    assert events(api, subscription.id)[-1] == "customer.subscription.deleted"
    assert len(api.invoices.list({"subscription": subscription.id}).data) == 1


def test_an_incomplete_one_expires_after_23_hours(api, plan, customer, clock):
    frozen = clock()
    subscription = start(api, plan, customer(test_clock=frozen.id), payment_behavior="default_incomplete")
    frozen.forward(hours=22)
    assert api.subscriptions.retrieve(subscription.id).status == "incomplete"
    frozen.forward(hours=1)
    expired = api.subscriptions.retrieve(subscription.id)
    assert (expired.status, expired.canceled_at, expired.ended_at) == ("incomplete_expired", frozen.now, frozen.now)
    assert api.invoices.retrieve(subscription.latest_invoice).status == "void"


def test_the_accounts_own_time_moves_all_without_a_clock(part, api, plan, customer, control):
    subscription = start(api, plan, customer())
    end = item_of(api, subscription).current_period_end
    result = control("advance", span="1 month 1 hour")
    assert result["events"]["customer.subscription.updated"] == 1 == result["events"]["invoice.paid"]
    assert item_of(api, subscription).current_period_start == end
    answer = httpx.get(f"{part.url}/health")
    told = datetime.strptime(answer.headers["Date"], "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC).timestamp()
    assert abs(told - result["now"]) < 60, "the header Date tells the account's time"
    assert api.customers.create({"email": "late@example.com"}).created >= result["now"]


def test_a_clock_says_when_it_is_there_and_refuses_what_makes_no_sense(api, plan, customer, clock):
    frozen = clock()
    start(api, plan, customer(test_clock=frozen.id))
    for wrong in (frozen.now, frozen.now - 1):
        with pytest.raises(stripe.InvalidRequestError, match="after the current"):
            api.test_helpers.test_clocks.advance(frozen.id, {"frozen_time": wrong})
    moving = api.test_helpers.test_clocks.advance(frozen.id, {"frozen_time": frozen.now + 40 * 86400})
    assert (
        moving.status == "advancing" and moving.status_details.advancing.target_frozen_time == frozen.now + 40 * 86400
    )
    eventually(lambda: api.test_helpers.test_clocks.retrieve(frozen.id).status == "ready")
    assert events(api, frozen.id).count("test_helpers.test_clock.ready") == 1


def test_a_clock_that_was_moving_when_the_process_was_killed_arrives(part, api, plan, customer, clock):
    frozen = clock()
    subscription = start(api, plan, customer(test_clock=frozen.id))
    target = periods.add(frozen.now, "year", 3) + 7200
    api.test_helpers.test_clocks.advance(frozen.id, {"frozen_time": target})
    part.kill()
    part.start()
    eventually(lambda: api.test_helpers.test_clocks.retrieve(frozen.id).frozen_time == target)
    assert len(api.invoices.list({"subscription": subscription.id, "limit": 100}).data) == 37


def test_deleting_a_clock_deletes_its_customers(api, plan, customer, clock):
    frozen = clock()
    payer = customer(test_clock=frozen.id)
    start(api, plan, payer)
    assert api.test_helpers.test_clocks.delete(frozen.id).deleted
    assert api.customers.retrieve(payer.id).deleted


@pytest.mark.parametrize(
    ("span", "day"), [("1 month", (2, 28)), ("2 months", (3, 31)), ("1 year", (1, 31)), ("1 week 1 day", (2, 8))]
)
def test_spans_follow_the_calendar(span, day):
    moment = datetime.fromtimestamp(periods.later(FEBRUARY, span), UTC)
    assert (moment.month, moment.day) == day


@pytest.mark.parametrize("span", ["", "month", "1", "x months", "1 fortnight", "-1 days"])
def test_other_spans_are_refused(span):
    with pytest.raises(ValueError, match="is not a time"):
        periods.later(FEBRUARY, span)
