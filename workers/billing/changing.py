"""Changing and cancelling a subscription, and what a change would cost."""

from collections.abc import Mapping
from typing import Any

from models.billing import normal_form, stripe_prices
from models.billing.operations import BillingOperation
from models.billing.stripe_order import time_of
from models.billing.stripe_tenants import id_of
from models.billing.subscription import ENDED, TRIALING
from models.platform.clock import iso
from workers.billing import customers
from workers.billing.asking import Outcome, Refused, ask, change, once, subscription
from workers.billing.starting import trial_end
from workers.gateways.stripe import Answer, ProviderRejected

Wish = Mapping[str, Any]


def update(operation: BillingOperation) -> Outcome:
    """Bring the subscription to what was asked for. What an earlier attempt has changed is not changed again."""
    wish, now = operation.request, _retrieve(operation)
    if now["status"] in ENDED:
        raise Refused("subscription_ended", "The subscription has ended meanwhile.", subscriptions=[now])
    customer_id = id_of(now["customer"]) or ""
    params: Any = difference(now, wish)
    email = wish.get("billing_email")
    if email:  # first: Stripe may refuse it, and then nothing is changed or charged
        customers.set_email(operation, customer_id, email)
    if params:
        if wish.get("is_payable") and now["status"] != TRIALING and not now.get("default_payment_method"):
            customers.require_card(operation.tenant_id, customer_id)
        now = change(
            "subscriptions.update",
            lambda stripe: stripe.v1.subscriptions.update(now["id"], params, once(operation, "subscription")),
        )
    return Outcome(subscriptions=[now], email=email)


def find_updated(operation: BillingOperation) -> Outcome | None:
    """What has become of a change whose answers were lost: None if the subscription is not as was asked for.

    Of an address alone that is not to be seen. With something else it was set before.
    """
    wish, now = operation.request, _retrieve(operation)
    if now["status"] in ENDED or difference(now, wish) or not wish.keys() & {"auto_renew", "seat_count", "plan_code"}:
        return None
    return Outcome(subscriptions=[now], email=wish.get("billing_email"))


def cancel(operation: BillingOperation) -> Outcome:
    """Cancel at the end of the period, or at once: then no further invoice is made, and nothing is paid back."""
    subscription_id = operation.request["subscription"]
    options = once(operation, "cancel")
    try:
        if operation.request["at_period_end"]:
            params: Any = {"cancel_at_period_end": True}
            now = change(
                "subscriptions.update",
                lambda stripe: stripe.v1.subscriptions.update(subscription_id, params, options),
            )
        else:
            now = change(
                "subscriptions.cancel", lambda stripe: stripe.v1.subscriptions.cancel(subscription_id, {}, options)
            )
    except ProviderRejected:  # it may have ended before: that is what was asked for
        found = find_cancelled(operation)
        if found is None:
            raise
        return found
    return Outcome(subscriptions=[now])


def find_cancelled(operation: BillingOperation) -> Outcome | None:
    now = _retrieve(operation)
    is_scheduled = operation.request["at_period_end"] and now["cancel_at_period_end"]
    return Outcome(subscriptions=[now]) if now["status"] in ENDED or is_scheduled else None


def preview(operation: BillingOperation) -> Outcome:
    """What a change would cost: with the change itself, and with the next invoice."""
    wish, now = operation.request, _retrieve(operation)
    details: dict[str, Any] = {"proration_behavior": wish["proration_behavior"]}
    if items := _items(now, wish):
        details["items"] = items
    first = _preview(now, details)
    due_now, following = 0, first
    is_first_payment = wish.get("is_payable") and now["status"] != TRIALING
    if wish["proration_behavior"] == "always_invoice" or is_first_payment:
        due_now, following = first["amount_due"], _preview(now, {**details, "proration_behavior": "none"})
    return Outcome(
        {
            "currency": first["currency"].upper(),
            "amount_due_now_cents": due_now,
            "next_invoice_cents": following["amount_due"],
            "next_invoice_at": iso(time_of(following.get("next_payment_attempt") or following["period_end"])),
            "lines": [_line(line) for line in first["lines"]["data"]],
        }
    )


def _preview(now: Answer, details: dict[str, Any]) -> Answer:
    params: Any = {"subscription": now["id"], "subscription_details": details}
    return ask("invoices.create_preview", lambda stripe: stripe.v1.invoices.create_preview(params))


def _line(line: Mapping[str, Any]) -> dict[str, Any]:
    parent = line.get("parent") or {}
    details = parent.get("subscription_item_details") or parent.get("invoice_item_details") or {}
    return {
        "description": line.get("description"),
        "amount_cents": line["amount"],
        "quantity": line.get("quantity"),
        "is_proration": bool(details.get("proration")),
        "period_start": iso(time_of(line["period"]["start"])),
        "period_end": iso(time_of(line["period"]["end"])),
    }


def _retrieve(operation: BillingOperation) -> Answer:
    return subscription(operation.request["subscription"])


# ---------------------------------------------------------------- from how it is to how it shall be


def difference(now: Mapping[str, Any], wish: Wish) -> dict[str, Any]:
    """The parameters that make the subscription what was wished for. Empty if it is."""
    params: dict[str, Any] = {}
    ends = now["cancel_at_period_end"]
    if wish.get("auto_renew") is True and (ends or now.get("cancel_at")):
        params |= {"cancel_at_period_end": False} if ends else {"cancel_at": ""}
    if wish.get("auto_renew") is False and not (ends or now.get("cancel_at")):
        params["cancel_at_period_end"] = True
    if items := _items(now, wish):
        params |= {
            "items": items,
            "proration_behavior": wish["proration_behavior"],
            "payment_behavior": "error_if_incomplete",
        }
    if "items" in wish and now["metadata"].get("plan_code") != wish["plan_code"]:
        params["metadata"] = {"plan_code": wish["plan_code"]}
        if now["status"] == TRIALING:
            params["trial_settings"] = trial_end(is_free=wish["is_free"])
    return params


def _items(now: Mapping[str, Any], wish: Wish) -> list[dict[str, Any]]:
    """What changes of the items. Seats alone keep their price, which may be one that is not sold any more."""
    seat = normal_form.seat_item(now, stripe_prices.known_prices())
    if "items" not in wish:
        seats = wish.get("seat_count")
        return [{"id": seat["id"], "quantity": seats}] if seats not in (None, seat.get("quantity")) else []
    first, *others = wish["items"]
    have = {normal_form.price_id(item["price"]): item for item in now["items"]["data"] if item["id"] != seat["id"]}
    changed = []
    if (normal_form.price_id(seat["price"]), seat.get("quantity")) != (first["price"], first.get("quantity")):
        changed.append({"id": seat["id"], **first})
    changed += [item for item in others if item["price"] not in have]
    kept = {item["price"] for item in others}
    changed += [{"id": item["id"], "deleted": True} for price, item in have.items() if price not in kept]
    return changed
