"""What Stripe says, in any order and repeated, becomes the same rows."""

import random
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import stripe_objects
from tests.support.billing_histories import histories, rows
from tests.support.crowd import crowd
from tests.support.stripe_objects import END, START

many = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
TENANT = UUID("0190a0a0-0000-7000-8000-000000000001")


def apply(*events, tenant_id=None):
    """Process events in this order, each stored when it comes, as the inbox does. Returns what the last one gave."""
    from models.billing import invoices, stripe_sync
    from models.billing.events import InboxEvent
    from models.billing.stripe_order import Order
    from models.platform.database import transaction

    found = None
    for event in events:
        thing, order = event["data"]["object"], Order.of_event(event)
        with transaction():
            InboxEvent.insert(
                source="stripe",
                external_id=event["id"],
                type=event["type"],
                object_id=thing["id"],
                occurred_at=order.as_of,
                payload=event,
            ).on_conflict_ignore().execute()
            match thing["object"]:
                case "subscription":
                    found = stripe_sync.apply_subscription(thing, order, tenant_id)
                case "invoice":
                    found = invoices.apply_invoice(thing, order)
                case "customer":
                    found = stripe_sync.apply_customer(thing, order)
    return found


def said(tenant, verb="updated", at=0, event_id=None, item=None, **more):
    """An event of the tenant's subscription, `at` seconds after its start."""
    thing = stripe_objects.subscription(item or stripe_objects.item(), **more)
    thing["metadata"] = {"tenant_id": str(tenant.id)} | thing["metadata"]
    event_id = event_id or f"evt_{uuid4().hex}"
    return stripe_objects.event(f"customer.subscription.{verb}", thing, event_id, START + at)


def fresh_tenant():
    from models.auth.tenants import Tenant
    from models.platform.database import database

    database.execute_sql("delete from inbox_event")
    Tenant.delete().where(Tenant.id == TENANT).execute()
    return Tenant.create(id=TENANT, slug="histories", name="Histories")


def in_order(events):
    from models.billing.stripe_order import Order

    return sorted(events, key=Order.of_event)


@many
@given(events=histories(TENANT), seed=st.integers(0, 2**32))
def test_any_order_with_repeats_ends_in_the_same_rows_as_the_events_in_order(prices, events, seed):
    fresh_tenant()
    apply(*in_order(events))
    expected = rows(TENANT)
    shuffler = random.Random(seed)
    shuffled = events + shuffler.choices(events, k=len(events) // 2)
    shuffler.shuffle(shuffled)
    fresh_tenant()
    apply(*shuffled)
    assert rows(TENANT) == expected
    apply(*shuffled)
    assert rows(TENANT) == expected


def test_the_row_says_what_stripe_said(tenant, prices):
    more = {"trial_end": START + 99, "cancel_at_period_end": True, "metadata": {"plan": "?"}}
    applied = apply(said(tenant, at=5, **more))
    row = applied.subscription
    assert (row.plan_code, row.status, row.seat_count) == ("pro", "active", 5)
    assert row.auto_renew is False and row.cancel_at == row.current_period_end
    assert (row.starts_at.timestamp(), row.current_period_start.timestamp()) == (START, START)
    assert (row.current_period_end.timestamp(), row.trial_ends_at.timestamp()) == (END, START + 99)
    assert row.stripe_subscription_id == "sub_1" and row.ended_at is None
    assert row.metadata == {
        "stripe_price_id": stripe_objects.SEAT_PRICE,
        "stripe_subscription_item_id": f"si_{stripe_objects.SEAT_PRICE}",
        "stripe_status": "active",
    }
    assert (applied.tenant_id, applied.before, applied.is_news, applied.is_tied) == (tenant.id, None, True, False)
    assert rows(tenant.id)["tenant"] == ("pro", 5)


def test_what_is_older_changes_nothing(tenant, prices):
    apply(said(tenant, at=60, status="past_due"))
    applied = apply(said(tenant, at=59))
    assert applied.subscription.status == "past_due" and not applied.is_news


def test_the_seat_item_counts_wherever_it_stands(tenant, prices):
    metered = stripe_objects.item(stripe_objects.MESSAGES_PRICE, None, current_period_end=END + 7)
    event = said(tenant)
    event["data"]["object"]["items"]["data"].insert(0, metered)
    row = apply(event).subscription
    assert (row.seat_count, row.current_period_end.timestamp()) == (5, END)


def test_the_deletion_of_an_old_subscription_does_not_touch_the_present_one(tenant, prices):
    apply(said(tenant, "created", at=60, id="sub_new", start_date=START + 60))
    row = apply(said(tenant, "deleted", at=90, id="sub_old", status="canceled", ended_at=START + 90)).subscription
    assert (row.stripe_subscription_id, row.status) == ("sub_new", "active")


def test_a_checkout_that_nobody_has_paid_does_not_replace_what_is_paid(tenant, prices):
    apply(said(tenant, id="sub_paid", item=stripe_objects.item("price_starter", 1)))
    started = {"id": "sub_unpaid", "start_date": START + 60, "status": "incomplete"}
    row = apply(said(tenant, "created", at=60, **started)).subscription
    assert row.stripe_subscription_id == "sub_paid" and rows(tenant.id)["tenant"] == ("starter", 1)


def test_what_was_never_paid_gives_no_plan(tenant, prices):
    row = apply(said(tenant, "created", status="incomplete")).subscription
    assert (row.status, row.plan_code) == ("incomplete", "pro")
    assert rows(tenant.id)["tenant"] == (None, None)


def test_an_ended_subscription_says_when_and_does_not_renew(tenant, prices):
    row = apply(said(tenant, "deleted", at=9, status="canceled", ended_at=START + 9)).subscription
    assert row.has_ended and not row.auto_renew
    assert row.ended_at == row.cancel_at and row.cancel_at.timestamp() == START + 9


def test_the_grace_begins_once_and_ends_with_the_recovery(tenant, prices):
    first = said(tenant, at=10, status="past_due")
    assert apply(first, said(tenant, at=20, status="past_due")).subscription.past_due_since.timestamp() == START + 10
    assert apply(said(tenant, at=30)).subscription.past_due_since is None
    again = apply(said(tenant, at=40, status="past_due"), first).subscription
    assert again.past_due_since.timestamp() == START + 40


def test_a_grace_of_which_only_an_answer_tells_begins_with_it(tenant, prices):
    from models.billing.stripe_order import Order, time_of
    from models.billing.stripe_sync import apply_subscription
    from models.platform.database import transaction

    thing = said(tenant, status="past_due")["data"]["object"]
    with transaction():
        applied = apply_subscription(thing, Order.of_answer(time_of(START + 3), "req_1"))
    assert applied.subscription.past_due_since.timestamp() == START + 3


def test_the_creation_overwrites_no_answer_of_its_second(tenant, prices):
    from models.billing.stripe_order import Order, time_of
    from models.billing.stripe_sync import apply_subscription
    from models.platform.database import transaction

    with transaction():
        apply_subscription(said(tenant)["data"]["object"], Order.of_answer(time_of(START), "req_1"))
    assert apply(said(tenant, "created", status="incomplete")).subscription.status == "active"
    assert apply(said(tenant, status="past_due")).subscription.status == "past_due"


def test_a_replayed_answer_fills_a_gap_and_overwrites_nothing(tenant, prices):
    from models.billing.stripe_order import Order
    from models.billing.stripe_sync import apply_subscription
    from models.platform.clock import now
    from models.platform.database import transaction

    thing = said(tenant)["data"]["object"]
    order = Order.of_answer(now() + timedelta(days=1), "req_1", replayed=True)
    with transaction():
        assert apply_subscription(thing, order).is_news
    apply(said(tenant, at=5, status="past_due"))
    with transaction():
        applied = apply_subscription(thing, order)
    assert applied.subscription.status == "past_due" and not applied.is_news


def test_two_different_states_of_one_second_are_tied(tenant, prices):
    event = said(tenant, at=5, event_id="evt_b")
    assert not apply(event).is_tied and not apply(event).is_tied
    assert apply(said(tenant, at=5, event_id="evt_a", status="past_due")).is_tied
    assert not apply(said(tenant, at=6)).is_tied


def test_the_address_comes_from_the_customer_and_stays_if_nobody_says_one(tenant, prices):
    customer = {
        "id": "cus_1",
        "object": "customer",
        "email": "a@example.com",
        "metadata": {"tenant_id": str(tenant.id)},
    }
    apply(stripe_objects.event("customer.updated", customer, "evt_c", START + 1))
    assert apply(said(tenant)).subscription.billing_email == "a@example.com"
    apply(stripe_objects.event("customer.updated", customer | {"email": "b@example.com"}, "evt_d", START + 2))
    apply(stripe_objects.event("customer.updated", customer | {"email": "old@example.com"}, "evt_e", START))
    assert apply(said(tenant, at=7)).subscription.billing_email == "b@example.com"
    other = customer | {"id": "cus_2", "email": "c@example.com"}
    apply(stripe_objects.event("customer.updated", other, "evt_f", START + 9))
    assert apply(said(tenant, at=8)).subscription.billing_email == "b@example.com"


def test_a_deleted_customer_is_forgotten_and_does_not_come_back(tenant, prices):
    customer = {"id": "cus_1", "object": "customer", "email": None, "metadata": {"tenant_id": str(tenant.id)}}
    apply(stripe_objects.event("customer.created", customer, "evt_a", START))
    assert rows(tenant.id)["billing_customer"][0]["stripe_customer_id"] == "cus_1"
    apply(stripe_objects.event("customer.deleted", customer, "evt_b", START + 9))
    apply(stripe_objects.event("customer.updated", customer, "evt_c", START + 5))
    assert rows(tenant.id)["billing_customer"][0]["stripe_customer_id"] is None


def test_a_trial_is_remembered_by_its_first_begin(tenant, prices):
    apply(said(tenant, id="sub_2", trial_start=START + 50), said(tenant, id="sub_1", trial_start=START))
    assert rows(tenant.id)["billing_customer"][0]["trial_used_at"].startswith("2026-01-01T00:00:00")


def test_a_plan_that_we_do_not_have_waits(tenant, prices):
    from models.billing.stripe_sync import UnknownPlan

    with pytest.raises(UnknownPlan):
        apply(said(tenant, item=stripe_objects.item("price_unknown")))
    assert rows(tenant.id)["stripe_subscription"] == []
    named = said(tenant, item=stripe_objects.item("price_unknown"), metadata={"plan_code": "starter"})
    assert apply(named).subscription.plan_code == "starter"


@pytest.mark.parametrize("metadata", [{}, {"tenant_id": "no-uuid"}, {"tenant_id": str(uuid4())}])
def test_whose_it_is_may_be_unknown(tenant, prices, metadata):
    from models.billing.stripe_tenants import TenantUnknown

    event = stripe_objects.event("customer.subscription.updated", stripe_objects.subscription(metadata=metadata))
    with pytest.raises(TenantUnknown):
        apply(event)


def test_a_subscription_without_a_name_belongs_to_the_tenant_of_its_past_or_its_customer(tenant, prices):
    anonymous = said(tenant, at=9)
    anonymous["data"]["object"]["metadata"] = {}
    apply(said(tenant))
    assert apply(anonymous).tenant_id == tenant.id
    customer = {"id": "cus_9", "object": "customer", "email": None, "metadata": {"tenant_id": str(tenant.id)}}
    apply(stripe_objects.event("customer.created", customer, "evt_9"))
    other = stripe_objects.subscription(id="sub_9", customer={"id": "cus_9", "object": "customer"})
    assert apply(stripe_objects.event("customer.subscription.created", other, "evt_10")).tenant_id == tenant.id


def test_a_subscription_cannot_change_its_tenant(tenant, prices):
    from models.auth.tenants import Tenant
    from models.billing.stripe_sync import WrongTenant

    other = Tenant.create(slug="other", name="Other")
    apply(said(tenant))
    with pytest.raises(WrongTenant):
        apply(said(other, at=60))
    assert rows(other.id)["subscription"] == []


def test_a_crowd_of_subscriptions_of_one_tenant_at_once_leaves_the_row_of_the_newest(tenant, prices):
    events = [said(tenant, at=n, id=f"sub_{n:02}", start_date=START + n) for n in range(20)]
    crowd(20, lambda number: apply(events[number]))
    assert rows(tenant.id)["subscription"][0]["stripe_subscription_id"] == "sub_19"


def test_deriving_again_changes_nothing(tenant, prices):
    from models.billing.stripe_sync import derive
    from models.platform.database import transaction

    with transaction():
        assert derive(tenant.id) is None
    apply(said(tenant))
    before = rows(tenant.id)
    with transaction():
        derive(tenant.id)
    assert rows(tenant.id) == before


def test_a_subscription_of_a_plan_that_we_do_not_have_is_not_in_the_way_of_others(tenant, prices):
    from models.billing.stripe_sync import UnknownPlan

    unknown = said(tenant, at=60, id="sub_2", start_date=START + 60, item=stripe_objects.item("price_unknown"))
    with pytest.raises(UnknownPlan):
        apply(unknown)
    assert apply(said(tenant, at=90)).subscription.stripe_subscription_id == "sub_1"


def test_a_grace_of_which_only_answers_tell_does_not_begin_anew_with_each(tenant, prices):
    from models.billing.stripe_order import Order, time_of
    from models.billing.stripe_sync import apply_subscription
    from models.platform.database import transaction

    for at, quantity in ((3, 5), (90, 6)):
        thing = said(tenant, status="past_due", item=stripe_objects.item(quantity=quantity))["data"]["object"]
        with transaction():
            row = apply_subscription(thing, Order.of_answer(time_of(START + at), f"req_{at}")).subscription
    assert (row.seat_count, row.past_due_since.timestamp()) == (6, START + 3)
