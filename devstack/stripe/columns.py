"""The columns of an object's row: what lists filter by, and when time alone changes it."""

from devstack.stripe.shapes import DAY, HOUR, Object

TRIAL_NOTICE = 3 * DAY
INCOMPLETE_LIFETIME = 23 * HOUR
LIVE = ("trialing", "active", "past_due", "unpaid")

_TAGS = {
    "event": "type",
    "price": "lookup_key",
    "customer": "email",
    "promotion_code": "code",
    "subscription": "status",
    "billing.meter": "event_name",
    "invoice_payment": "invoice",
}


def tag(item: Object) -> str | None:
    if item["object"] == "invoice":
        return subscription_of(item)
    value = item.get(_TAGS.get(item["object"], ""))
    return value if isinstance(value, str) else None


def subscription_of(invoice: Object) -> str | None:
    """The id of the subscription that an invoice is for."""
    id_: str | None = ((invoice.get("parent") or {}).get("subscription_details") or {}).get("subscription")
    return id_


def due(item: Object) -> int | None:
    """When time changes this object next."""
    if item.get("deleted"):
        return None
    kind = item["object"]
    if kind == "subscription":
        return _subscription_due(item)
    if kind == "invoice":
        return _invoice_due(item)
    if kind == "checkout.session" and item["status"] == "open":
        return int(item["expires_at"])
    return None


def _subscription_due(item: Object) -> int | None:
    if item["status"] == "incomplete":
        return int(item["created"]) + INCOMPLETE_LIFETIME
    if item["status"] not in LIVE:
        return None
    times = [item["items"]["data"][0]["current_period_end"], item["cancel_at"]]
    if item["status"] == "trialing":
        times += [item["trial_end"], None if item.get("_trial_notice") else item["trial_end"] - TRIAL_NOTICE]
    return min(int(time) for time in times if time is not None)


def _invoice_due(item: Object) -> int | None:
    if item["status"] == "draft" and item["auto_advance"]:
        return int(item["automatically_finalizes_at"])
    if item["status"] == "open" and item["next_payment_attempt"]:
        return int(item["next_payment_attempt"])
    return None
