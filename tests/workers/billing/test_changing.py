"""Changing, cancelling and undoing: what was asked for, once, and what Stripe has confirmed in our row."""

import pytest

from models.billing import changes, stripe_prices, stripe_sync
from models.billing.customers import BillingCustomer
from models.billing.operations import BillingOperation, ChangePending
from models.billing.stripe_order import UPDATED, Order
from models.billing.subscription import Subscription, SubscriptionNotFound
from models.jobs.ledger import Job
from models.platform.audit import AuditEvent
from models.platform.database import database, transaction
from tests.support.billing import work
from workers.billing import asking, operations
from workers.gateways.stripe import call

GOOD = "pm_card_visa"


@pytest.fixture
def pro(done, without_trial):
    """A paid subscription of the plan pro."""
    assert done("start", plan_code="pro", payment_method=GOOD, billing_email="bills@example.com").state == "succeeded"


def at_stripe(account, tenant):
    [subscription] = [one for one in account.of("subscription", tenant) if one["status"] != "canceled"]
    return subscription


def seats_of(subscription):
    return subscription["items"]["data"][0]["quantity"]


def test_seats_address_and_renewal_change_together(pro, done, row, account, tenant, told):
    assert done("update", seat_count=7, billing_email="new@example.com", auto_renew=False).state == "succeeded"
    assert (row().seat_count, row().billing_email, row().auto_renew) == (7, "new@example.com", False)
    assert row().cancel_at == row().current_period_end
    subscription, [customer] = at_stripe(account, tenant), account.of("customer", tenant)
    assert (seats_of(subscription), subscription["cancel_at_period_end"]) == (7, True)
    assert (customer["email"], BillingCustomer.of_tenant(tenant.id).email) == ("new@example.com",) * 2
    assert told() == ["longshore.subscription.started", "longshore.subscription.updated"]


def test_a_change_counts_although_an_event_of_its_second_says_how_it_was_before(
    pro, done, row, account, tenant, monkeypatch
):
    before = at_stripe(account, tenant)

    def and_the_event_of_the_change_before_arrives(name, function):
        answer = ask(name, function)
        if name == "subscriptions.update":
            with transaction():
                stripe_sync.apply_subscription(before, Order(answer.at, UPDATED, "evt_before"), tenant.id)
        return answer

    ask = asking.ask
    monkeypatch.setattr(asking, "ask", and_the_event_of_the_change_before_arrives)
    assert done("update", seat_count=7).state == "succeeded"
    assert row().seat_count == 7
    assert done("cancel", at_period_end=True).state == "succeeded"
    assert row().auto_renew is False


def test_an_answer_that_an_event_of_its_second_overtook_is_read_again(pro, done, row, account, tenant, monkeypatch):
    before, apply = at_stripe(account, tenant), stripe_sync.apply_subscription

    def first_the_event(thing, order, tenant_id):
        apply(before, Order(order.as_of, UPDATED, "evt_before"), tenant_id)
        return apply(thing, order, tenant_id)

    monkeypatch.setattr(stripe_sync, "apply_subscription", first_the_event)
    assert done("update", seat_count=7).state == "succeeded"
    assert row().seat_count == 5, "what the event says, for now"
    [job] = Job.select().where(Job.name == "billing.refresh")
    assert job.args == {"subscription_id": before["id"]}


def test_an_address_alone_goes_to_stripe_too(pro, done, row, account, tenant):
    before = at_stripe(account, tenant)
    assert done("update", billing_email="other@example.com").state == "succeeded"
    assert row().billing_email == account.of("customer", tenant)[0]["email"] == "other@example.com"
    assert at_stripe(account, tenant) == before


def test_what_is_so_already_is_no_change(pro, ask_for):
    assert ask_for("update", seat_count=5, auto_renew=True, billing_email="bills@example.com", plan_code="pro") is None
    with pytest.raises(changes.NothingToUpdate):
        ask_for("update")


def test_a_change_of_plan_moves_price_seats_and_metadata(done, row, without_trial, account, tenant):
    assert done("start", plan_code="starter").state == "succeeded"
    assert done("update", plan_code="pro").error_code == "payment_required", "it has to be paid at once"
    assert (row().plan_code, seats_of(at_stripe(account, tenant))) == ("starter", 1)
    customer = BillingCustomer.stripe_id(tenant.id)
    card = call("attach", lambda stripe: stripe.v1.payment_methods.attach(GOOD, {"customer": customer}))
    prefer = {"invoice_settings": {"default_payment_method": card["id"]}}
    call("prefer", lambda stripe: stripe.v1.customers.update(customer, prefer))
    assert done("update", plan_code="pro").state == "succeeded"
    subscription = at_stripe(account, tenant)
    assert (row().plan_code, row().seat_count, seats_of(subscription)) == ("pro", 5, 5)
    assert subscription["metadata"]["plan_code"] == "pro"
    prices = {item["price"]["id"] for item in subscription["items"]["data"]}
    assert prices == set(stripe_prices.current("pro").values()), "the seats and all that is metered"
    assert done("update", plan_code="starter", proration_behavior="none").state == "succeeded"
    assert (row().plan_code, row().seat_count) == ("starter", 1)


def test_during_a_trial_the_plan_changes_without_a_card_and_the_trial_goes_on(done, row, account, tenant):
    done("start", plan_code="starter")
    ends = row().trial_ends_at
    assert done("update", plan_code="pro").state == "succeeded"
    assert (row().plan_code, row().status, row().trial_ends_at) == ("pro", "trialing", ends)
    settings = at_stripe(account, tenant)["trial_settings"]
    assert settings == {"end_behavior": {"missing_payment_method": "cancel"}}


def test_a_declined_change_of_plan_leaves_the_old_one(done, row, without_trial, account, tenant):
    done("start", plan_code="starter", payment_method="pm_card_chargeCustomerFail")
    operation = done("update", plan_code="pro")
    assert (operation.error_code, operation.result["decline_code"]) == ("card_declined", "generic_decline")
    assert row().plan_code == "starter" and row().status == "active"
    assert at_stripe(account, tenant)["metadata"]["plan_code"] == "starter"


def test_seats_alone_keep_their_price_even_if_it_is_not_sold_any_more(pro, done, row, account, tenant):
    price = stripe_prices.current("pro")[""]
    database.execute_sql("update stripe_price set is_current = false where stripe_price_id = %s", (price,))
    dearer = (
        "insert into stripe_price (plan_code, feature, stripe_product_id, stripe_price_id) values ('pro', '', 'p', 'x')"
    )
    database.execute_sql(dearer)
    try:
        assert done("update", seat_count=9).state == "succeeded"
    finally:
        database.execute_sql("delete from stripe_price where stripe_price_id = 'x'")
        database.execute_sql("update stripe_price set is_current = true where stripe_price_id = %s", (price,))
    seats = [item["quantity"] for item in at_stripe(account, tenant)["items"]["data"] if item["price"]["id"] == price]
    assert seats == [9] and row().seat_count == 9


def test_cancelling_at_the_end_of_the_period_and_taking_it_back(pro, done, ask_for, row, account, tenant):
    assert done("cancel", at_period_end=True).state == "succeeded"
    assert (row().status, row().auto_renew, row().cancel_at) == ("active", False, row().current_period_end)
    assert ask_for("cancel", at_period_end=True) is None, "it is so already"
    assert done("update", auto_renew=True).state == "succeeded"
    assert (row().auto_renew, row().cancel_at) == (True, None)
    assert not at_stripe(account, tenant)["cancel_at_period_end"]


def test_cancelling_at_once_is_repeatable_and_ends_changes(pro, done, ask_for, row, told):
    done("cancel", at_period_end=True)
    assert done("cancel", at_period_end=False).state == "succeeded"
    assert row().status == "canceled" and row().ended_at and not row().auto_renew
    assert ask_for("cancel", at_period_end=False) is None
    with pytest.raises(changes.SubscriptionEnded):
        ask_for("update", seat_count=9)
    assert told().count("longshore.subscription.canceled") == 2


def test_a_cancellation_that_stripe_has_already_is_a_success(pro, done, row):
    call("cancel", lambda stripe: stripe.v1.subscriptions.cancel(row().stripe_subscription_id))
    assert row().status == "active", "no webhook has come"
    assert done("cancel", at_period_end=False).state == "succeeded" and row().status == "canceled"


def test_a_change_of_what_has_ended_meanwhile_fails_and_the_row_knows(pro, done, row):
    call("cancel", lambda stripe: stripe.v1.subscriptions.cancel(row().stripe_subscription_id))
    assert done("update", seat_count=9).error_code == "subscription_ended" and row().status == "canceled"


@pytest.mark.parametrize(
    ("kind", "wish", "lost"),
    [
        ("update", {"seat_count": 8}, "POST /v1/subscriptions/*"),
        ("update", {"seat_count": 8, "billing_email": "new@example.com"}, "POST /v1/customers/*"),
        ("cancel", {"at_period_end": True}, "POST /v1/subscriptions/*"),
        ("cancel", {"at_period_end": False}, "DELETE /v1/subscriptions/*"),
    ],
)
def test_a_lost_answer_changes_nothing_twice(pro, ask_for, row, account, tenant, kind, wish, lost):
    operation = ask_for(kind, **wish)
    account.fault(lost, "lost", times=3)
    for _ in range(3):
        work()
    assert BillingOperation.reload(operation.id).state == "succeeded"
    assert row().seat_count == wish.get("seat_count", 5) and row().auto_renew is (kind == "update")
    made = [one for one in account.objects("invoiceitem") if one["customer"] == BillingCustomer.stripe_id(tenant.id)]
    assert len(made) <= 2, "one credit and one charge at most"


def test_while_one_change_is_open_another_is_refused_but_the_same_cancellation_is_followed(pro, ask_for, done, row):
    operation = ask_for("cancel", at_period_end=True)
    for wish in ({"seat_count": 9}, {"auto_renew": False}):
        with pytest.raises(ChangePending):
            ask_for("update", **wish)
    with pytest.raises(ChangePending):
        ask_for("cancel", at_period_end=False)
    assert ask_for("cancel", at_period_end=True) == operation
    with pytest.raises(changes.SubscriptionExists):
        ask_for("checkout", plan_code="starter")
    work()
    assert done("update", seat_count=9).state == "succeeded" and row().seat_count == 9


def test_what_stripe_has_not_confirmed_cannot_be_changed(ask_for, account, tenant):
    with pytest.raises(SubscriptionNotFound):
        ask_for("cancel", at_period_end=True)
    ask_for("start", plan_code="pro")
    with pytest.raises(changes.SubscriptionExists):
        ask_for("start", plan_code="pro")
    with pytest.raises(ChangePending):
        ask_for("cancel", at_period_end=True)
    BillingOperation.update(state="failed").execute()
    for kind, wish in (("cancel", {"at_period_end": True}), ("update", {"seat_count": 9})):
        with pytest.raises(changes.SubscriptionNotConfirmed):
            ask_for(kind, **wish)


def test_seats_may_not_be_fewer_than_the_members(pro, ask_for, person):
    for _ in range(3):
        person("member")
    with pytest.raises(changes.SeatsBelowMembers) as refused:
        ask_for("update", seat_count=2)
    assert refused.value.details == {"seat_count": 2, "members": 3}
    with pytest.raises(changes.SeatsBelowMembers):
        ask_for("update", plan_code="starter")
    assert ask_for("update", seat_count=3)


def test_a_change_that_came_to_nothing_while_stripe_was_away(pro, ask_for, row, account, monkeypatch):
    operation = ask_for("update", seat_count=9)
    monkeypatch.setattr(operations, "now", lambda: operation.created_at.replace(year=2099))
    account.fault("*", status=500, times=1000)
    work()
    assert BillingOperation.reload(operation.id).error_code == "provider_unavailable" and row().seat_count == 5


def test_every_change_is_in_the_audit_log(pro, done):
    done("update", seat_count=9)
    done("cancel", at_period_end=False)
    actions = [event.action for event in AuditEvent.select().order_by(AuditEvent.id)]
    expected = [f"billing.{kind}_{end}" for kind in ("start", "update", "cancel") for end in ("asked", "succeeded")]
    assert [action for action in actions if action.startswith("billing.")] == expected


def test_a_preview_says_what_a_change_costs_and_changes_nothing(pro, done, row, account, tenant):
    before = at_stripe(account, tenant)
    result = done("preview", seat_count=7).result
    assert result["currency"] == "USD" and result["amount_due_now_cents"] == 0
    extra = 2 * 1900
    assert 9900 + extra <= result["next_invoice_cents"] <= 9900 + 2 * extra, (
        "the next month, and what is left of this one"
    )
    assert any(line["is_proration"] for line in result["lines"])
    same = done("preview", seat_count=5).result
    assert (same["amount_due_now_cents"], same["next_invoice_cents"]) == (0, 9900), "nothing would change"
    now = done("preview", seat_count=7, proration_behavior="always_invoice").result
    assert 0 < now["amount_due_now_cents"] <= extra and now["next_invoice_cents"] == 9900 + extra
    assert at_stripe(account, tenant) == before and Subscription.of_tenant(tenant.id).seat_count == 5
    assert not AuditEvent.select().where(AuditEvent.action.startswith("billing.preview")).count()


def test_seats_that_are_to_go_are_not_given_to_new_members(pro, ask_for, tenant, account, person):
    from models.auth.seats import SeatLimitReached

    person("owner")
    operation = ask_for("update", seat_count=1)
    with pytest.raises(SeatLimitReached):
        person("member")  # Stripe has not confirmed it yet
    account.fault("POST /v1/subscriptions/*", status=400)
    work()
    assert BillingOperation.reload(operation.id).error_code == "provider_rejected"
    person("member")  # the five seats are there again


def test_what_fails_after_the_answer_is_told_to_people_once(pro, ask_for, account, tenant, configure):
    from models.billing.notices import Notice

    configure(billing_wait_seconds=60)
    account.fault("POST /v1/subscriptions/*", status=400)
    ask_for("update", seat_count=8)
    work()
    assert not Notice.select().exists(), "whoever asked has read it in the answer"
    configure(billing_wait_seconds=0)
    account.fault("POST /v1/subscriptions/*", status=400)
    operation = ask_for("update", seat_count=8)
    work()
    [notice] = Notice.select()
    assert (notice.kind, notice.key, notice.tenant_id) == ("operation_failed", str(operation.id), tenant.id)


def test_an_address_that_stripe_refuses_changes_nothing_else(pro, done, row, account, tenant):
    account.fault("POST /v1/customers/*", status=400)
    failed = done("update", seat_count=8, billing_email="bad@example.com")
    assert failed.error_code == "provider_rejected"
    assert seats_of(at_stripe(account, tenant)) == row().seat_count == 5


def test_seats_that_are_to_go_stay_gone_when_a_webhook_comes_meanwhile(pro, ask_for, row, tenant, account, person):
    from models.auth.seats import SeatLimitReached
    from models.billing import stripe_sync
    from models.platform.database import transaction

    person("owner")
    ask_for("update", seat_count=1)
    with transaction():
        stripe_sync.derive(tenant.id)  # as any event of the subscription does
    with pytest.raises(SeatLimitReached):
        person("member")
    work()
    assert row().seat_count == 1
