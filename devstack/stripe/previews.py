"""POST /v1/invoices/create_preview: the change is made, its invoice is looked at, and all of it is undone."""

from devstack.stripe import changing, discounts, invoices, items, renewal, subscriptions
from devstack.stripe.errors import ApiError, malformed, missing
from devstack.stripe.form import Params
from devstack.stripe.shapes import Object
from devstack.stripe.store import new_id
from devstack.stripe.world import World

FIELDS = "customer subscription subscription_details discounts preview_mode currency"
_DETAILS = "items proration_behavior proration_date cancel_at cancel_at_period_end cancel_now trial_end billing_cycle_anchor metadata"


def preview(world: World, params: Params) -> Object:
    """The invoice. The caller has to undo what was written."""
    details = params.below("subscription_details")
    details.only(_DETAILS.split())
    params.choice("preview_mode", "next")
    subscription_id = params.text("subscription")
    if subscription_id:
        invoice = _of_existing(world, world.get("subscription", subscription_id, "subscription"), params, details)
    elif "items" in details:
        invoice = _of_new(world, params, details)
    else:
        raise missing("subscription")
    invoice["id"] = f"upcoming_{invoice['id']}"
    invoice["next_payment_attempt"] = invoice["automatically_finalizes_at"]
    for name in ("automatically_finalizes_at", "auto_advance"):
        invoice[name] = None
    return invoice


def _of_existing(world: World, subscription: Object, params: Params, details: Params) -> Object:
    customer = world.get("customer", subscription["customer"])
    now = world.now(subscription["test_clock"])
    if subscription["status"] in ("canceled", "incomplete_expired"):
        raise _nothing(subscription)
    if "discounts" in params:
        subscription["discounts"] = discounts.redeem(world, params.rows("discounts"), customer, subscription["id"], now)
    change = changing.apply(world, subscription, details)
    subscriptions.set_end(subscription, details, now)
    if details.flag("cancel_now"):
        raise malformed("The stand-in does not preview cancel_now.", "subscription_details[cancel_now]")
    if change.invoiced:
        at = details.number("proration_date", now)
        return invoices.draft(world, subscription, "subscription_update", change.entries, proration_date=at)
    if subscription["cancel_at"] is not None and not _has_more(world, subscription):
        raise _nothing(subscription)
    return _upcoming(world, subscription, details.number("proration_date", now) if "items" in details else None)


def _has_more(world: World, subscription: Object) -> bool:
    rows = subscription["items"]["data"]
    return bool(subscription["_pending"] or items.use_lines(world, rows, subscription["customer"]))


def _upcoming(world: World, subscription: Object, at: int | None) -> Object:
    """The invoice of the next renewal."""
    subscription["status"] = "active"
    invoice = renewal.renew(world, subscription)
    invoice["created"] = invoice["period_end"]
    invoice["automatically_finalizes_at"] = invoice["period_end"] + invoices.FINALIZED_AFTER
    invoice["parent"]["subscription_details"] |= {"subscription_proration_date": at} if at else {}
    return invoice


def _of_new(world: World, params: Params, details: Params) -> Object:
    customer = world.get("customer", params.required("customer"), "customer")
    form = details.form | {"customer": customer["id"], "payment_behavior": "default_incomplete"}
    allowed = {name: value for name, value in form.items() if name in subscriptions.CREATE_FIELDS.split()}
    if "discounts" in params:
        allowed["discounts"] = params.form["discounts"]
    subscription = subscriptions.create(world, Params(allowed))
    return world.get("invoice", subscription["latest_invoice"]) | {
        "id": new_id("in_1"),
        "status": "draft",
        "number": None,
    }


def _nothing(subscription: Object) -> ApiError:
    message = f"No upcoming invoices for customer: {subscription['customer']}"
    return ApiError(404, message, code="invoice_upcoming_none")
