"""What a paid or an unpaid invoice means for its subscription."""

from devstack.stripe import columns
from devstack.stripe.shapes import DAY, Object
from devstack.stripe.world import World

# When a failed payment is tried again, in time after the attempt before: three times in three weeks.
RETRIES = (3 * DAY, 7 * DAY, 11 * DAY)
AFTER_RETRIES = "canceled"  # or "unpaid", or "past_due": the setting `after_retries`


def subscription_of(world: World, invoice: Object) -> Object | None:
    """The subscription of an invoice, as it is stored."""
    id_ = columns.subscription_of(invoice)
    return world.store.get(id_) if id_ else None


def paid(world: World, invoice: Object) -> None:
    """The latest invoice is paid: the subscription is active again, or now."""
    subscription = subscription_of(world, invoice)
    if subscription is None or subscription["latest_invoice"] not in (invoice["id"], None):
        return
    if subscription["status"] in ("incomplete", "past_due", "unpaid"):
        subscription["status"] = "active"
        if method := _paid_by(world, invoice):
            subscription["default_payment_method"] = subscription["default_payment_method"] or method
        world.save(subscription, "customer.subscription.updated")
    customer = world.get("customer", invoice["customer"])
    if customer["delinquent"]:
        customer["delinquent"] = False
        world.save(customer, "customer.updated")


def _paid_by(world: World, invoice: Object) -> str | None:
    """The payment method to keep for the subscription, if it asks for that."""
    subscription = subscription_of(world, invoice)
    keeps = subscription and subscription["payment_settings"]["save_default_payment_method"] == "on_subscription"
    intent = world.store.get(invoice.get("_intent") or "")
    return intent["payment_method"] if keeps and intent else None


def unpaid(world: World, invoice: Object, *, action: bool) -> None:
    """A payment failed: it is tried again later, up to the last time. The first payment is not."""
    subscription = subscription_of(world, invoice)
    attempts = invoice["attempt_count"]
    first = invoice["billing_reason"] == "subscription_create"
    ended = subscription is None or subscription["status"] not in columns.LIVE
    if first or ended or attempts > len(RETRIES):
        invoice["next_payment_attempt"] = None
    else:
        invoice["next_payment_attempt"] = world.now(invoice["test_clock"]) + RETRIES[attempts - 1]
    world.put(invoice)
    if action:
        world.record("invoice.payment_action_required", invoice)
    world.record("invoice.payment_failed", invoice)
    if first or ended or subscription is None:
        return
    customer = world.get("customer", invoice["customer"])
    customer["delinquent"] = True
    world.save(customer, "customer.updated")
    if subscription["status"] in ("active", "trialing", "past_due"):
        subscription["status"] = "past_due"
        world.save(subscription, "customer.subscription.updated")
    if attempts > len(RETRIES):
        _end(world, subscription)


def _end(world: World, subscription: Object) -> None:
    """The last attempt failed."""
    from devstack.stripe import ending

    outcome = world.store.setting("after_retries", AFTER_RETRIES)
    if outcome == "canceled":
        ending.end(world, subscription, reason="payment_failed")
    elif outcome == "unpaid":
        subscription["status"] = "unpaid"
        world.save(subscription, "customer.subscription.updated")


def voided(world: World, invoice: Object) -> None:
    """The first invoice of a subscription was voided: it never begins."""
    subscription = subscription_of(world, invoice)
    if subscription and subscription["status"] == "incomplete":
        expired(world, subscription)


def expired(world: World, subscription: Object) -> None:
    """An incomplete subscription is over."""
    now = world.now(subscription["test_clock"])
    subscription |= {"status": "incomplete_expired", "canceled_at": now, "ended_at": now}
    world.save(subscription, "customer.subscription.updated")
