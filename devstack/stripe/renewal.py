"""What time does to subscriptions: trials end, periods end."""

from devstack.stripe import ending, invoices, items, payment_methods, subscriptions
from devstack.stripe.columns import INCOMPLETE_LIFETIME, TRIAL_NOTICE
from devstack.stripe.shapes import Object
from devstack.stripe.world import World


def step(world: World, subscription: Object) -> None:
    """Do what is due now. One thing: the next call does the next."""
    now = world.now(subscription["test_clock"])
    if subscription["status"] == "incomplete":
        if now >= subscription["created"] + INCOMPLETE_LIFETIME:
            ending.expire(world, subscription)
        return
    if subscription["cancel_at"] is not None and now >= subscription["cancel_at"]:
        ending.end(world, subscription, invoice=True)
        return
    if subscription["status"] == "trialing":
        if now >= subscription["trial_end"]:
            _end_trial(world, subscription)
        elif not subscription.get("_trial_notice") and now >= subscription["trial_end"] - TRIAL_NOTICE:
            subscriptions.notify_of_trial_end(world, subscription)
        return
    renew(world, subscription)


def _end_trial(world: World, subscription: Object) -> None:
    customer = world.get("customer", subscription["customer"])
    behaviour = subscription["trial_settings"]["end_behavior"]["missing_payment_method"]
    payable = payment_methods.payer(world, customer, subscription["default_payment_method"])
    if payable is None and behaviour == "cancel":
        ending.end(world, subscription)
        return
    if payable is None and behaviour == "pause":
        subscription["status"] = "paused"
        world.save(subscription, "customer.subscription.updated")
        world.record("customer.subscription.paused", subscription)
        return
    subscription["status"] = "active"
    renew(world, subscription)


def renew(world: World, subscription: Object) -> Object:
    """Begin the next period, and draft its invoice; return that. It is finalized an hour later."""
    rows = subscription["items"]["data"]
    begun, over = rows[0]["current_period_start"], rows[0]["current_period_end"]
    entries = subscription["_pending"] + items.use_lines(world, rows, subscription["customer"])
    subscription["_pending"] = []
    items.begin(rows, over, items.period_end(world, rows, over, subscription["billing_cycle_anchor"]))
    invoice = invoices.draft(
        world,
        subscription,
        "subscription_cycle",
        entries + items.advance_lines(world, rows),
        period=(begun, over),
    )
    if subscription["status"] == "unpaid":  # they stay drafts until someone pays what is open
        invoice |= {"auto_advance": False, "automatically_finalizes_at": None}
        world.put(invoice)
    world.save(subscription, "customer.subscription.updated")
    return invoice
