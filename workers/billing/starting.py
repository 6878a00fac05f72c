"""Starting a subscription, and the pages on which a tenant starts one itself."""

import logging
from typing import Any

from models.billing.customers import BillingCustomer
from models.billing.operations import BillingOperation
from models.billing.stripe_order import time_of
from models.platform.clock import iso
from workers.billing import customers
from workers.billing.asking import Outcome, Refused, ask, change, once
from workers.gateways.stripe import Answer, ProviderRejected

log = logging.getLogger(__name__)
EXISTS = "Stripe has a subscription of this tenant already."


def start(operation: BillingOperation) -> Outcome:
    """One subscription, whatever happens: what an earlier attempt has made is found, and no page may make another.

    A declined card leaves none: `error_if_incomplete`.
    """
    order = operation.request
    customer = customers.ensure(operation)
    if not customer.is_new:
        close_pages(customer.id)
        if existing := customers.standing(customer.id):
            return _existing(operation, existing)
        if order["billing_email"]:
            customers.set_email(operation, customer.id, order["billing_email"])
    discounts = _discounts(order)
    params: Any = _params(operation, customer.id) | ({"discounts": discounts} if discounts else {})
    if order["payment_method"]:
        card = customers.attach_card(operation, customer.id, order["payment_method"])
        params["default_payment_method"] = card
    elif order["is_payable"]:
        customers.require_card(operation.tenant_id, customer.id)
    made = change(
        "subscriptions.create", lambda stripe: stripe.v1.subscriptions.create(params, once(operation, "subscription"))
    )
    if order["payment_method"]:
        customers.prefer_card(operation, customer.id, card)
    return Outcome(subscriptions=[made], email=order["billing_email"])


def find_started(operation: BillingOperation) -> Outcome | None:
    """What has become of a start whose answers were lost: None if Stripe has no subscription of it."""
    customer_id = BillingCustomer.stripe_id(operation.tenant_id)
    found = [one for one in customers.standing(customer_id) if _is_of(operation, one)] if customer_id else []
    return Outcome(subscriptions=found, email=operation.request["billing_email"]) if found else None


def _existing(operation: BillingOperation, existing: list[Answer]) -> Outcome:
    if not any(_is_of(operation, one) for one in existing):
        raise Refused("subscription_exists", EXISTS, subscriptions=existing)
    return Outcome(subscriptions=existing, email=operation.request["billing_email"])


def _is_of(operation: BillingOperation, subscription: Answer) -> bool:
    return bool(subscription["metadata"].get("operation_id") == str(operation.id))


def _params(operation: BillingOperation, customer_id: str) -> dict[str, Any]:
    order = operation.request
    return {
        "customer": customer_id,
        "items": order["items"],
        "metadata": _metadata(operation),
        "payment_behavior": "error_if_incomplete",
        "cancel_at_period_end": not order["auto_renew"],
        **trial(order),
    }


def trial(order: dict[str, Any]) -> dict[str, Any]:
    if not order["trial_days"]:
        return {}
    return {"trial_period_days": order["trial_days"], "trial_settings": trial_end(is_free=order["is_free"])}


def trial_end(*, is_free: bool) -> dict[str, Any]:
    """What a trial without a payment method becomes: a free plan goes on, any other ends, and nothing is owed."""
    return {"end_behavior": {"missing_payment_method": "create_invoice" if is_free else "cancel"}}


def _metadata(operation: BillingOperation) -> dict[str, str]:
    return {
        "tenant_id": str(operation.tenant_id),
        "plan_code": operation.request["plan_code"],
        "operation_id": str(operation.id),
    }


def _discounts(order: dict[str, Any]) -> list[dict[str, str]]:
    """The discount of the code that the customer has written. Refused if there is no such code (any more)."""
    if not order["promotion_code"]:
        return []
    params: Any = {"code": order["promotion_code"], "active": True, "limit": 1}
    page = ask("promotion_codes.list", lambda stripe: stripe.v1.promotion_codes.list(params))
    if not page["data"]:
        raise Refused("promotion_code_unknown", "There is no such promotion code, or it is not valid any more.")
    return [{"promotion_code": page["data"][0]["id"]}]


# ---------------------------------------------------------------- pages


def checkout(operation: BillingOperation) -> Outcome:
    """A page on which the tenant pays. Those that were opened before are closed: of two, both could be paid."""
    order = operation.request
    customer = customers.ensure(operation)
    if not customer.is_new:
        close_pages(customer.id, but=str(operation.id))
        if order["billing_email"]:
            customers.set_email(operation, customer.id, order["billing_email"])
    discounts = _discounts(order)
    params: Any = {
        "mode": "subscription",
        "customer": customer.id,
        "client_reference_id": str(operation.tenant_id),
        "line_items": order["items"],
        "success_url": order["success_url"],
        "cancel_url": order["cancel_url"],
        "metadata": _metadata(operation),
        "subscription_data": {"metadata": _metadata(operation), **trial(order)},
        **({"discounts": discounts} if discounts else {"allow_promotion_codes": True}),
    }
    page = ask(
        "checkout.sessions.create",
        lambda stripe: stripe.v1.checkout.sessions.create(params, once(operation, "page")),
    )
    return Outcome({"url": page["url"], "expires_at": iso(time_of(page["expires_at"]))}, email=order["billing_email"])


def portal(operation: BillingOperation) -> Outcome:
    customer = customers.ensure(operation)
    params: Any = {"customer": customer.id, "return_url": operation.request["return_url"]}
    page = ask(
        "billing_portal.sessions.create",
        lambda stripe: stripe.v1.billing_portal.sessions.create(params, once(operation, "page")),
    )
    return Outcome({"url": page["url"]})


def close_pages(customer_id: str, but: str = "") -> None:
    """Close the customer's open checkout pages. One that has just been paid stays so: its subscription is found then."""
    params: Any = {"customer": customer_id, "status": "open", "limit": customers.PAGE}
    for page in ask("checkout.sessions.list", lambda stripe: stripe.v1.checkout.sessions.list(params))["data"]:
        if page["metadata"].get("operation_id") == but:
            continue
        _close_page(page["id"])


def _close_page(page_id: str) -> None:
    try:
        ask("checkout.sessions.expire", lambda stripe: stripe.v1.checkout.sessions.expire(page_id))
    except ProviderRejected as error:
        log.info("billing.page_not_open", extra={"reason": error.message})
