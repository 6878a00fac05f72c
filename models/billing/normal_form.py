"""Events of billing as clients get them: one form, whether they come live, from the history, from Stripe or from us.

Pure functions of Stripe's objects in the pinned API version (stripe/_subscription.py, stripe/_invoice.py) and of `prices`.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias
from uuid import UUID

from models.billing.subscription import Subscription
from models.platform.clock import iso, iso_or_none

SEAT = ""  # the feature of a plan's seat price
UNKNOWN, UNKNOWN_PLAN = "unknown", "unknown-plan"
PROCESSED = "processed"
Object: TypeAlias = Mapping[str, Any]
Prices: TypeAlias = Mapping[
    str, tuple[str, str]
]  # Stripe's id of a price -> (plan code, feature): stripe_prices.known_prices


def normal_form(
    tenant_id: UUID | None, payload: Object, prices: Prices, *, processing_status: str = PROCESSED
) -> dict[str, Any]:
    """An event of Stripe as BillingEventResponse's JSON. `payload`: the whole event, as the webhook got it.

    Nothing in it changes later, except `processing_status` until the event is processed. Types that tell of neither a
    subscription nor an invoice have null sections.
    """
    event_type, thing = str(payload["type"]), payload.get("data", {}).get("object") or {}
    is_subscription = event_type.startswith("customer.subscription")
    is_invoice = event_type.startswith("invoice.")
    return _form(
        tenant_id,
        event_type,
        str(payload["id"]),
        datetime.fromtimestamp(payload["created"], UTC),
        status=_text(thing.get("status")) or _text(thing.get("billing_reason")) or processing_status,
        summary=_summary(thing, "Subscription" if is_subscription else "Invoice" if is_invoice else None),
        subscription=subscription_section(thing, prices) if is_subscription else None,
        invoice=invoice_section(thing) if is_invoice else None,
        usage=usage_lines(thing, prices) if is_invoice else (),
        processing_status=processing_status,
    )


def bare_form(tenant_id: UUID | None, payload: Object, *, processing_status: str) -> dict[str, Any]:
    """The same of an event whose object we cannot read: what the event says of itself, without sections."""
    return _form(
        tenant_id,
        str(payload["type"]),
        str(payload["id"]),
        datetime.fromtimestamp(payload["created"], UTC),
        status=processing_status,
        summary=None,
        subscription=None,
        invoice=None,
        processing_status=processing_status,
        usage=(),
    )


def own_form(
    tenant_id: UUID,
    event_type: str,
    event_id: str,
    occurred_at: datetime,
    *,
    status: str | None = None,
    summary: str | None = None,
    subscription: Subscription | None = None,
    invoice: Object | None = None,
    usage: Sequence[Object] = (),
) -> dict[str, Any]:
    """An act of ours in the same form. `invoice` and the items of `usage` are sections as this module makes them."""
    section = None if subscription is None else own_subscription_section(subscription)
    known = status or (section and section["status"]) or (invoice and invoice["status"]) or PROCESSED
    return _form(
        tenant_id,
        event_type,
        event_id,
        occurred_at,
        status=known,
        summary=summary,
        subscription=section,
        invoice=invoice,
        usage=usage,
        processing_status=PROCESSED,
    )


def _form(
    tenant_id: UUID | None,
    event_type: str,
    event_id: str,
    occurred_at: datetime,
    *,
    usage: Sequence[Object],
    **more: Any,
) -> dict[str, Any]:
    return {
        "tenant_id": "" if tenant_id is None else str(tenant_id),
        "event_type": event_type,
        "stripe_event_id": event_id,
        "occurred_at": iso(occurred_at),
        **more,
        "usage": list(usage),
    }


def subscription_section(subscription: Object, prices: Prices) -> dict[str, Any]:
    item = seat_item(subscription, prices)
    ends, at_period_end = subscription.get("cancel_at"), bool(subscription.get("cancel_at_period_end"))
    if ends is None and at_period_end:
        ends = item.get("current_period_end")
    return {
        "plan_code": plan_code(subscription, prices),
        "status": _text(subscription.get("status")) or UNKNOWN,
        "seat_count": _int(item.get("quantity")),
        "auto_renew": not at_period_end,
        "current_period_start": time_of(item.get("current_period_start")),
        "current_period_end": time_of(item.get("current_period_end")),
        "trial_ends_at": time_of(subscription.get("trial_end")),
        "cancel_at": time_of(ends),
    }


def own_subscription_section(subscription: Subscription) -> dict[str, Any]:
    return {
        "plan_code": subscription.plan_code,
        "status": subscription.status,
        "seat_count": subscription.seat_count,
        "auto_renew": subscription.auto_renew,
        "current_period_start": iso_or_none(subscription.current_period_start),
        "current_period_end": iso_or_none(subscription.current_period_end),
        "trial_ends_at": iso_or_none(subscription.trial_ends_at),
        "cancel_at": iso_or_none(subscription.cancel_at),
    }


def seat_item(subscription: Object, prices: Prices) -> Object:
    """The item that counts seats and has the period: that of a plan's seat price, else the first. Empty without items."""
    items = _list(subscription.get("items"))
    seats = (item for item in items if prices.get(price_id(item.get("price")), ("", "no seat"))[1] == SEAT)
    return next(seats, items[0] if items else {})


def plan_code(subscription: Object, prices: Prices) -> str:
    """By our table of prices, else what the subscription or its price says of itself."""
    item = seat_item(subscription, prices)
    price = item.get("price")
    if known := prices.get(price_id(price)):
        return known[0]
    named, of_price = subscription.get("metadata") or {}, price if isinstance(price, Mapping) else {}
    of_price_named = of_price.get("metadata") or {}
    candidates = (
        named.get("plan_code"),
        named.get("plan"),
        of_price_named.get("plan_code"),
        of_price.get("nickname"),
        price_id(price),
    )
    return next((str(found) for found in candidates if found), UNKNOWN_PLAN)


def invoice_section(invoice: Object) -> dict[str, Any]:
    """`amount_due_cents` is 0 if nothing is due: the total only stands in where Stripe does not say what is due."""
    due = invoice.get("amount_due")
    return {
        "invoice_id": _text(invoice.get("id")) or "invoice",  # one that is only announced has no id yet
        "status": _text(invoice.get("status")) or UNKNOWN,
        "amount_due_cents": int(invoice.get("total") or 0) if due is None else int(due),
        "currency": (_text(invoice.get("currency")) or "usd").lower(),
        "billing_reason": _text(invoice.get("billing_reason")),
        "hosted_invoice_url": _text(invoice.get("hosted_invoice_url")) or _text(invoice.get("invoice_pdf")),
        "collection_method": _text(invoice.get("collection_method")),
        "period_start": time_of(invoice.get("period_start")),
        "period_end": time_of(invoice.get("period_end")),
    }


def usage_lines(invoice: Object, prices: Prices) -> list[dict[str, Any]]:
    """The metered lines of an invoice of Stripe: what they bill of which feature. Amounts are in the smallest unit."""
    return list(_usage_lines(invoice, prices))


def _usage_lines(invoice: Object, prices: Prices) -> Iterator[dict[str, Any]]:
    for line in _list(invoice.get("lines")):
        feature, quantity = _feature(line, prices), line.get("quantity")
        if not feature or not quantity:
            continue
        period = line.get("period") or {}
        yield {
            "feature_key": feature,
            "quantity": int(quantity),
            "period_start": time_of(period.get("start")),
            "period_end": time_of(period.get("end")),
            "amount_cents": _int(line.get("amount")),
        }


def _feature(line: Object, prices: Prices) -> str | None:
    """The metered feature that a line bills; None for seats and whatever else is not metered. The price decides."""
    price = ((line.get("pricing") or {}).get("price_details") or {}).get("price")
    if known := prices.get(price_id(price)):
        return known[1] or None
    if isinstance(price, Mapping):
        if (price.get("recurring") or {}).get("usage_type") != "metered":
            return None
        named = price.get("metadata") or {}
        return _text(named.get("feature_key")) or _text(named.get("plan_feature")) or _text(price.get("nickname"))
    return None


def price_id(price: Any) -> str:
    """Stripe's id of a price, which may be expanded; empty for none."""
    return str((price.get("id") if isinstance(price, Mapping) else price) or "")


def _summary(thing: Object, name: str | None) -> str | None:
    status = _text(thing.get("status"))
    if name == "Subscription":
        return f"Subscription {status or UNKNOWN}"
    said = _text(thing.get("description")) or _text(thing.get("billing_reason"))
    return said or (f"Invoice {status or UNKNOWN}" if name else status)


def _list(value: Any) -> list[Any]:
    """The items of a list object of Stripe, of which an event has the first page."""
    return list(value.get("data") or ()) if isinstance(value, Mapping) else []


def _int(value: Any) -> int | None:
    return None if value is None else int(value)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def time_of(seconds: int | None) -> str | None:
    """A time of Stripe's, in seconds, as clients get it."""
    return None if seconds is None else iso(datetime.fromtimestamp(seconds, UTC))
