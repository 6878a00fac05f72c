"""Checkout sessions for subscriptions. The page that pays for one is in `pages`."""

from collections.abc import Iterator

from devstack.stripe import cards, customers, discounts, items, lines, lists, payment_methods, subscriptions
from devstack.stripe.errors import ApiError, invalid, malformed, missing
from devstack.stripe.form import Params
from devstack.stripe.shapes import DAY, Object, nulls
from devstack.stripe.store import new_id
from devstack.stripe.world import World

FIELDS = (
    "mode line_items success_url cancel_url client_reference_id customer customer_email metadata subscription_data"
    " payment_method_collection allow_promotion_codes discounts expires_at locale ui_mode"
)
_DATA = "trial_period_days trial_end trial_settings metadata description"
_NULLS = (
    "after_expiration billing_address_collection client_secret collected_information consent consent_collection"
    " currency_conversion customer_account customer_details integration_identifier invoice invoice_creation"
    " origin_context payment_intent payment_link payment_method_configuration_details permissions recovered_from"
    " return_url saved_payment_method_options setup_intent shipping_address_collection shipping_cost submit_type"
    " subscription wallet_options"
)
_SOONEST, _LATEST = 1800, DAY  # an expiry, in seconds from now


def create(world: World, params: Params) -> Object:
    if params.choice("mode", "subscription") is None:
        raise missing("mode")
    params.choice("ui_mode", "hosted_page", "hosted_page")
    customer = params.text("customer")
    if customer:
        world.get("customer", customer, "customer")
    params.below("subscription_data").only(_DATA.split())
    id_ = f"cs_test_{new_id('', 58)}"
    now = world.now()
    rows = items.read(world, Params({"items": _item_forms(params)}), "", now)
    collection = params.choice("payment_method_collection", "always if_required", "always")
    session: Object = {
        "id": id_,
        "object": "checkout.session",
        **nulls(_NULLS),
        "adaptive_pricing": {"enabled": False},
        "allow_promotion_codes": params.flag("allow_promotion_codes") if "allow_promotion_codes" in params else None,
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "cancel_url": params.text("cancel_url"),
        "client_reference_id": params.text("client_reference_id", longest=200),
        "created": now,
        "currency": world.get("price", rows[0]["price"])["currency"],
        "custom_fields": [],
        "custom_text": nulls("after_submit shipping_address submit terms_of_service_acceptance"),
        "customer": customer,
        "customer_creation": None if customer else "always",
        "customer_email": params.text("customer_email"),
        "discounts": [
            {"coupon": row.text("coupon"), "promotion_code": row.text("promotion_code")}
            for row in params.rows("discounts")
        ],
        "expires_at": _expiry(params, now),
        "livemode": False,
        "locale": params.text("locale"),
        "metadata": params.metadata(),
        "mode": "subscription",
        "payment_method_collection": collection,
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
        "payment_method_types": ["card"],
        "payment_status": "unpaid",
        "phone_number_collection": {"enabled": False},
        "shipping_options": [],
        "status": "open",
        "success_url": params.required("success_url"),
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted_page",
        "url": f"{world.url}/checkout/{id_}",
        "_items": [{"price": row["price"], "quantity": row.get("quantity"), "id": f"li_1{new_id('')}"} for row in rows],
        "_data": params.below("subscription_data").form,
    }
    if session["discounts"] and session["allow_promotion_codes"]:
        raise malformed("You may only specify one of these parameters: allow_promotion_codes, discounts.", "discounts")
    total = sum(entry["amount_total"] for entry in line_items(world, session))
    session["amount_subtotal"] = session["amount_total"] = 0 if _trial(session) else total
    return world.add(session)


def _item_forms(params: Params) -> Object:
    """The line items as a subscription takes them."""
    rows = params.rows("line_items")
    if not rows:
        raise missing("line_items")
    forms: Object = {}
    for number, row in enumerate(rows):
        row.only(("price", "quantity", "adjustable_quantity"))
        forms[str(number)] = {name: row.form[name] for name in ("price", "quantity") if name in row}
    return forms


def _expiry(params: Params, now: int) -> int:
    at = params.number("expires_at", now + _LATEST)
    if not now + _SOONEST <= at <= now + _LATEST:
        raise invalid(
            "The `expires_at` timestamp must be at least 30 minutes and at most 24 hours from Checkout Session creation.",
            "expires_at",
        )
    return at


def _trial(session: Object) -> bool:
    data = session["_data"]
    return bool(data.get("trial_period_days") or data.get("trial_end"))


def line_items(world: World, session: Object) -> list[Object]:
    result = []
    for entry in session["_items"]:
        price = world.get("price", entry["price"])
        cost = 0 if lines.metered(price) else lines.amount(price, entry["quantity"])
        result.append(
            {
                "id": entry["id"],
                "object": "item",
                "adjustable_quantity": None,
                "amount_discount": 0,
                "amount_subtotal": cost,
                "amount_tax": 0,
                "amount_total": cost,
                "currency": price["currency"],
                "description": world.get("product", price["product"])["name"],
                "metadata": {},
                "price": world.price(price["id"]),
                "quantity": entry["quantity"],
            }
        )
    return result


def line_items_of(world: World, params: Params, id_: str) -> Iterator[Object]:
    return lists.part(params, line_items(world, world.get("checkout.session", id_)))


def retrieve(world: World, params: Params, id_: str) -> Object:
    return world.get("checkout.session", id_)


def sessions(world: World, params: Params) -> Iterator[Object]:
    subscription, status = params.text("subscription"), params.choice("status", "complete expired open")
    found = world.listing(params, "checkout.session", customer=params.text("customer"))
    return (item for item in found if status in (None, item["status"]) and subscription in (None, item["subscription"]))


def expire(world: World, params: Params, id_: str) -> Object:
    session = world.get("checkout.session", id_)
    if session["status"] != "open":
        raise invalid(
            f'Only Checkout Sessions with a status in ["open"] can be expired. This Checkout Session has a status of {session["status"]}.'
        )
    return expire_one(world, session)


def expire_one(world: World, session: Object) -> Object:
    session |= {"status": "expired", "url": None}
    world.put(session)
    world.record("checkout.session.expired", session)
    return session


def needs_card(session: Object) -> bool:
    return bool(session["amount_total"]) or session["payment_method_collection"] == "always"


def complete(world: World, session: Object, card: str | None, email: str | None, code: str | None) -> Object:
    """The customer has pressed the button. ApiError if the card or the promotion code is refused: nothing happens then."""
    if session["status"] != "open":
        raise invalid(f"This session is {session['status']}.")
    customer = _customer(world, session, email)
    form: Object = session["_data"] | {
        "customer": customer["id"],
        "items": {str(number): _form(entry) for number, entry in enumerate(session["_items"])},
        "payment_behavior": "error_if_incomplete",
    }
    rows = [{name: value for name, value in row.items() if value} for row in session["discounts"]]
    if code:
        rows = [{"promotion_code": _promotion(world, code, customer)["id"]}]
    if rows:
        form["discounts"] = {str(number): row for number, row in enumerate(rows)}
    if needs_card(session):
        if card is None or cards.named(card) is None:
            raise invalid("Choose a card.", "card")
        form["default_payment_method"] = payment_methods.attach_to(world, card, customer)["id"]
    subscription = subscriptions.create(world, Params(form))
    invoice = world.get("invoice", subscription["latest_invoice"])
    session |= {
        "amount_subtotal": invoice["subtotal"],
        "amount_total": invoice["total"],
        "customer": customer["id"],
        "customer_details": nulls("address business_name individual_name phone")
        | {"email": customer["email"], "name": customer["name"], "tax_exempt": "none", "tax_ids": []},
        "invoice": invoice["id"],
        "payment_status": "paid" if invoice["amount_due"] else "no_payment_required",
        "status": "complete",
        "subscription": subscription["id"],
        "url": None,
    }
    session["total_details"]["amount_discount"] = invoice["subtotal"] - invoice["total"]
    world.put(session)
    world.record("checkout.session.completed", session)
    return session


def _form(entry: Object) -> Object:
    return {"price": entry["price"]} | ({} if entry["quantity"] is None else {"quantity": str(entry["quantity"])})


def _customer(world: World, session: Object, email: str | None) -> Object:
    if session["customer"]:
        return world.get("customer", session["customer"])
    return customers.create(world, Params({"email": email or session["customer_email"] or "customer@example.com"}))


def _promotion(world: World, code: str, customer: Object) -> Object:
    for item in discounts.codes(world, Params({"code": code, "active": "true"})):
        return discounts.usable(world, item, customer)
    raise ApiError(400, "This code is invalid.", param="promotion_code")
