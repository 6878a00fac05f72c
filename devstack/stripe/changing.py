"""Changing a subscription: its items, its end, its discounts, its trial."""

from dataclasses import dataclass, field

from devstack.stripe import discounts, invoices, items, lines, payments, subscriptions
from devstack.stripe.errors import invalid, malformed
from devstack.stripe.form import Params
from devstack.stripe.shapes import Object
from devstack.stripe.world import World

FIELDS = (
    "items metadata description default_payment_method payment_behavior payment_settings off_session trial_end"
    " trial_settings cancel_at_period_end cancel_at discounts proration_behavior proration_date billing_cycle_anchor"
    " cancellation_details collection_method"
)


@dataclass
class Change:
    """What a change costs.

    entries     lines of the invoice
    invoiced    whether that invoice is made now; otherwise the lines wait for the next one
    """

    entries: list[Object] = field(default_factory=list)
    invoiced: bool = False


def update(world: World, params: Params, id_: str) -> Object:
    subscription = world.get("subscription", id_)
    over = subscription["status"] in ("canceled", "incomplete_expired")
    if over and set(params.form) - {"metadata", "cancellation_details", "expand"}:
        raise invalid(
            "A canceled subscription can only update its cancellation_details and metadata.", code="resource_missing"
        )
    customer = world.get("customer", subscription["customer"])
    now = world.now(subscription["test_clock"])
    behaviour = str(params.choice("payment_behavior", subscriptions.BEHAVIOURS, "allow_incomplete"))
    subscriptions.read_settings(world, subscription, params, customer)
    details = params.below("cancellation_details")
    details.only(("comment", "feedback"))
    subscription["cancellation_details"] |= {
        name: details.text(name) for name in ("comment", "feedback") if name in details
    }
    if "discounts" in params:
        subscription["discounts"] = discounts.redeem(world, params.rows("discounts"), customer, id_, now)
    change = apply(world, subscription, params)
    subscriptions.set_end(subscription, params, now)
    invoice = None
    if change.invoiced:
        invoice = invoices.draft(
            world,
            subscription,
            "subscription_update",
            change.entries,
            proration_date=params.number("proration_date", now),
        )
        if (
            invoice["amount_due"]
            and behaviour != "default_incomplete"
            and payments.payer(world, invoice, subscription["default_payment_method"]) is None
        ):
            raise payments.no_method()
    world.save(subscription, "customer.subscription.updated")
    if invoice:
        invoices.finalize(world, invoice)
        if invoice["amount_due"] and behaviour != "default_incomplete":
            subscriptions.collect(world, invoice["id"], behaviour, off_session=params.flag("off_session"))
    return world.get("subscription", id_)


def apply(world: World, subscription: Object, params: Params) -> Change:
    """Write new items, and a new period if the change begins one, into the subscription; return what that costs."""
    now = world.now(subscription["test_clock"])
    before = [dict(row) for row in subscription["items"]["data"]]
    trial_end = params.text("trial_end")
    restart = params.below("billing_cycle_anchor").choice("type", "now unchanged") == "now" or trial_end == "now"
    if "items" not in params and not restart and not trial_end:
        return Change()
    if subscription["status"] == "incomplete":
        raise invalid(
            "The subscription is incomplete: its items cannot be changed before its first invoice is paid.", "items"
        )
    after = items.read(world, params, subscription["id"], now, before)
    subscription["items"] |= {"data": after, "total_count": len(after)}
    at = _moment(before, params, now)
    behaviour = params.choice("proration_behavior", subscriptions.PRORATIONS, "create_prorations")
    if trial_end and trial_end != "now":
        return _extend_trial(subscription, params, now)
    if subscription["status"] == "trialing" and not restart:
        items.begin(after, subscription["trial_start"], subscription["trial_end"])
        return Change()
    new_cycle = items.interval_of(world, before) != items.interval_of(world, after)
    if restart or new_cycle or (items.free(world, before) and not items.free(world, after)):
        return _restart(world, subscription, before, now, at, credited=behaviour != "none")
    items.begin(after, before[0]["current_period_start"], before[0]["current_period_end"])
    entries = [] if behaviour == "none" else _prorations(world, before, after, at)
    if behaviour == "always_invoice" and entries:
        entries = subscription["_pending"] + entries
        subscription["_pending"] = []
        return Change(entries, invoiced=True)
    subscription["_pending"] += entries
    return Change(entries)


def _moment(before: list[Object], params: Params, now: int) -> int:
    """When the change counts from."""
    at = params.number("proration_date", now)
    if not before[0]["current_period_start"] <= at <= before[0]["current_period_end"]:
        raise invalid("The proration date must be within the current period.", "proration_date")
    return at


def _extend_trial(subscription: Object, params: Params, now: int) -> Change:
    end = params.number("trial_end")
    if end is None or end <= now:
        raise malformed("Invalid timestamp: must be an integer Unix timestamp in the future.", "trial_end")
    start = subscription["trial_start"] or now
    subscription |= {
        "status": "trialing",
        "trial_start": start,
        "trial_end": end,
        "billing_cycle_anchor": end,
        "_trial_notice": False,
    }
    items.begin(subscription["items"]["data"], now, end)
    return Change()


def _restart(world: World, subscription: Object, before: list[Object], now: int, at: int, *, credited: bool) -> Change:
    """A new period begins now: what is left of the old one is credited, the new one is invoiced at once."""
    entries = subscription["_pending"]
    subscription["_pending"] = []
    if subscription["status"] == "trialing":
        subscription |= {"status": "active", "trial_end": now}
    elif credited:
        entries = entries + [entry for row in before if (entry := lines.unused(world, row, at))]
    for row in before:
        row["current_period_end"] = now
    entries = entries + items.use_lines(world, before, subscription["customer"])
    rows = subscription["items"]["data"]
    items.begin(rows, now, items.period_end(world, rows, now, now))
    subscription["billing_cycle_anchor"] = now
    if subscription["cancel_at_period_end"]:
        subscription["cancel_at"] = rows[0]["current_period_end"]
    return Change(entries + items.advance_lines(world, rows), invoiced=True)


def _prorations(world: World, before: list[Object], after: list[Object], at: int) -> list[Object]:
    """For every item that changes: a credit for the rest of the old, and a charge for the rest of the new."""
    new = {row["id"]: row for row in after}
    old = {row["id"]: row for row in before}
    result: list[Object | None] = []
    for id_ in [*old, *(id_ for id_ in new if id_ not in old)]:
        was, becomes = old.get(id_), new.get(id_)
        if was and becomes and (was["price"], was.get("quantity")) == (becomes["price"], becomes.get("quantity")):
            continue
        result.append(lines.unused(world, was, at) if was else None)
        result.append(lines.remaining(world, becomes, at) if becomes else None)
    return [entry for entry in result if entry]
