"""How subscriptions end: at once, at the end of a period, or because nobody paid."""

from devstack.stripe import columns, invoices, items, lines, standing
from devstack.stripe.errors import ApiError, no_such
from devstack.stripe.form import Params
from devstack.stripe.shapes import Object
from devstack.stripe.world import World

FIELDS = "cancellation_details invoice_now prorate"
ENDABLE = (*columns.LIVE, "incomplete", "paused")


def cancel(world: World, params: Params, id_: str) -> Object:
    """DELETE /v1/subscriptions/{id}"""
    subscription = world.get("subscription", id_)
    if subscription["status"] not in ENDABLE:
        raise no_such("subscription", id_, "id")
    details = params.below("cancellation_details")
    details.only(("comment", "feedback"))
    subscription["cancellation_details"] |= {
        name: details.text(name) for name in ("comment", "feedback") if name in details
    }
    if subscription["status"] == "incomplete":
        expire(world, subscription)
    else:
        end(
            world,
            subscription,
            reason="cancellation_requested",
            prorate=params.flag("prorate"),
            invoice=params.flag("invoice_now"),
        )
    return world.get("subscription", id_)


def end(
    world: World,
    subscription: Object,
    *,
    reason: str = "cancellation_requested",
    prorate: bool = False,
    invoice: bool = False,
) -> None:
    """End it now. `prorate`: credit the rest of the period; `invoice`: bill that and what was used."""
    now = world.now(subscription["test_clock"])
    rows = subscription["items"]["data"]
    entries = subscription.pop("_pending", [])
    if prorate and subscription["status"] != "trialing":
        credit = [entry for row in rows if (entry := lines.unused(world, row, now))]
        if not invoice:  # it waits for the customer's next invoice
            customer = world.get("customer", subscription["customer"])
            world.put(customer | {"_pending": [*customer.get("_pending", []), *credit]})
        entries = entries + credit
    cut = [row | {"current_period_end": min(row["current_period_end"], now)} for row in rows]
    used = [entry for entry in items.use_lines(world, cut, subscription["customer"]) if entry["quantity"]]
    subscription |= {"status": "canceled", "ended_at": now, "_pending": []}
    subscription["canceled_at"] = subscription["canceled_at"] or now
    subscription["cancellation_details"]["reason"] = subscription["cancellation_details"]["reason"] or reason
    invoices.stop_collecting(world, subscription)
    last = None
    if invoice and (entries or used):
        reason_ = "subscription_update" if subscription["cancel_at"] is None else "subscription_cycle"
        last = invoices.draft(world, subscription, reason_, entries + used)
    world.put(subscription)
    world.record("customer.subscription.deleted", subscription)
    if last:
        _collect(world, last)


def _collect(world: World, invoice: Object) -> None:
    from devstack.stripe import payments

    invoices.finalize(world, invoice)
    if invoice["status"] == "open" and payments.payer(world, invoice):
        try:
            payments.collect(world, invoice)
        except ApiError as error:
            if error.status != 402:
                raise


def expire(world: World, subscription: Object) -> None:
    """The first invoice was not paid in time."""
    for invoice in list(world.store.find("invoice", tags=[subscription["id"]])):
        if invoice["status"] == "open":
            invoices.void(world, invoice)
    standing.expired(world, subscription)
