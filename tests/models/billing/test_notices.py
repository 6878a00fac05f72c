"""What tenants are told, once each."""

from datetime import timedelta

import pytest

from models.platform.clock import now
from tests.support.crowd import crowd
from tests.support.stripe_objects import event, invoice, subscription


def tell(tenant, *args, **details):
    from models.billing import notices
    from models.platform.database import transaction

    with transaction():
        return notices.tell(tenant.id, *args, **details)


def told(tenant):
    from models.billing.notices import Notice

    return {(row.kind, row.key): row.details for row in Notice.select().where(Notice.tenant_id == tenant.id)}


def heard(tenant, event_type, thing, created=None):
    from models.billing import notices
    from models.platform.database import transaction

    with transaction():
        notices.of_stripe_event(tenant.id, event(event_type, thing, created=int((created or now()).timestamp())))
    return told(tenant)


def test_nothing_is_told_twice(tenant):
    from models.auth.tenants import Tenant

    other = Tenant.create(slug="other", name="Other")
    assert tell(tenant, "payment_failed", "in_1", number="A-1") is True
    assert tell(tenant, "payment_failed", "in_1", number="A-1") is False
    assert tell(tenant, "payment_failed", "in_2") and tell(tenant, "trial_will_end", "in_1")
    assert tell(other, "payment_failed", "in_1"), "tenants have their own"
    assert len(told(tenant)) == 3


def test_a_crowd_that_sees_the_same_limit_tells_of_it_once(tenant):
    from models.billing import notices
    from models.platform.database import transaction

    window = (now(), now() + timedelta(days=30))

    def see(_):
        with transaction():
            return notices.limit_reached(tenant.id, "messages", 80, window, used=160, limit=200)

    assert sorted(crowd(12, see)) == [False] * 11 + [True]
    [((kind, _), details)] = told(tenant).items()
    assert kind == "limit_80" and (details["used"], details["limit"]) == (160, 200)


def test_both_levels_and_each_window_are_told(tenant):
    from models.billing import notices
    from models.platform.database import transaction

    windows = [(now(), now()), (now() + timedelta(days=30), now())]
    with transaction():
        new = [
            notices.limit_reached(tenant.id, feature, percent, window, used=1, limit=1)
            for window in windows
            for percent in (80, 100)
            for feature in ("messages", "input_tokens")
        ]
    assert all(new) and len(told(tenant)) == 8


@pytest.mark.parametrize(
    ("event_type", "thing", "kind", "key"),
    [
        ("invoice.payment_failed", invoice(), "payment_failed", "in_1"),
        ("invoice.payment_action_required", invoice(), "payment_action_required", "in_1"),
        ("customer.subscription.trial_will_end", subscription(trial_end=9), "trial_will_end", "sub_1:9"),
        ("customer.subscription.deleted", subscription(), "subscription_canceled", "sub_1"),
    ],
)
def test_what_stripe_says_that_concerns_people(tenant, event_type, thing, kind, key):
    assert list(heard(tenant, event_type, thing)) == [(kind, key)]
    assert len(heard(tenant, event_type, thing)) == 1, "Stripe's second delivery tells nothing new"


def test_the_details_of_an_invoice(tenant):
    details = heard(tenant, "invoice.payment_failed", invoice(number="A-1", next_payment_attempt=0))
    assert details["payment_failed", "in_1"] == {
        "invoice_id": "in_1",
        "number": "A-1",
        "amount_due_cents": 9900,
        "currency": "usd",
        "hosted_invoice_url": "https://invoice.stripe.com/i/1",
        "next_attempt_at": "1970-01-01T00:00:00.000000Z",
    }


@pytest.mark.parametrize("event_type", ["invoice.paid", "customer.subscription.updated", "customer.updated", "x"])
def test_what_concerns_nobody(tenant, event_type):
    assert heard(tenant, event_type, invoice()) == {}


def test_what_is_long_past_is_not_told(tenant):
    assert heard(tenant, "invoice.payment_failed", invoice(), now() - timedelta(days=4)) == {}


def test_notices_are_handed_out_once_and_purged(tenant):
    from models.billing import notices
    from models.platform.database import transaction

    tell(tenant, "payment_failed", "in_1")
    with transaction():
        [notice] = notices.untold(10)
        notices.Notice.update(told_at=now()).where(notices.Notice.id == notice.id).execute()
    with transaction():
        assert notices.untold(10) == []
    assert notices.purge(1) == 0
    notices.Notice.update(created_at=now() - timedelta(days=2)).execute()
    assert notices.purge(1) == 1 and told(tenant) == {}


@pytest.mark.parametrize("kind", ["payment_failed", "payment_action_required"])
def test_a_payment_that_has_been_made_meanwhile_is_not_called_failed(tenant, kind):
    from models.billing.invoices import apply_invoice
    from models.billing.stripe_order import Order
    from models.platform.database import transaction

    paid = event("invoice.paid", invoice(metadata={"tenant_id": str(tenant.id)}))
    with transaction():
        apply_invoice(paid["data"]["object"], Order.of_event(paid))
    assert heard(tenant, f"invoice.{kind}", invoice(status="open")) == {}


@pytest.mark.parametrize(
    ("status", "stripe_id", "is_told"),
    [
        ("trialing", "sub_1", True),
        ("canceled", "sub_1", False),
        ("active", "sub_1", False),
        ("trialing", "sub_2", False),
    ],
)
def test_a_trial_that_is_over_or_was_replaced_will_not_end(tenant, status, stripe_id, is_told):
    from models.billing.subscription import Subscription

    Subscription.create(tenant_id=tenant.id, plan_code="pro", status=status, stripe_subscription_id=stripe_id)
    late = subscription(status="trialing", trial_end=9)
    assert bool(heard(tenant, "customer.subscription.trial_will_end", late)) is is_told
