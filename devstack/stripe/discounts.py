"""Coupons, promotion codes, and the discounts that they become."""

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation

from devstack.stripe import periods
from devstack.stripe.errors import invalid, malformed, missing
from devstack.stripe.form import Params
from devstack.stripe.lines import rounded
from devstack.stripe.shapes import Object
from devstack.stripe.store import new_id
from devstack.stripe.world import World

COUPON_FIELDS = "id percent_off amount_off currency duration duration_in_months max_redemptions name metadata redeem_by"
CODE_FIELDS = "promotion code active customer expires_at max_redemptions metadata restrictions"


def create_coupon(world: World, params: Params) -> Object:
    id_ = params.text("id") or new_id("", 8)
    if world.store.get(id_):
        raise invalid(f"Coupon already exists: {id_}", "id", "resource_already_exists")
    percent, amount = _percent(params), params.number("amount_off", least=1)
    if (percent is None) == (amount is None):
        raise malformed("You must pass either percent_off or amount_off.", "percent_off", "parameter_missing")
    duration = params.choice("duration", "forever once repeating", "once")
    months = params.number("duration_in_months", least=1)
    if (duration == "repeating") != (months is not None):
        raise malformed("duration_in_months goes with duration=repeating.", "duration_in_months")
    coupon = {
        "id": id_,
        "object": "coupon",
        "amount_off": amount,
        "created": world.now(),
        "currency": params.required("currency") if amount is not None else None,
        "duration": duration,
        "duration_in_months": months,
        "livemode": False,
        "max_redemptions": params.number("max_redemptions", least=1),
        "metadata": params.metadata(),
        "name": params.text("name", longest=40),
        "percent_off": percent,
        "redeem_by": params.number("redeem_by"),
        "times_redeemed": 0,
        "valid": True,
    }
    return world.add(coupon, "coupon.created")


def _percent(params: Params) -> float | None:
    text = params.text("percent_off")
    if text is None:
        return None
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal(-1)
    if not 0 < value <= 100:
        raise malformed("Invalid percent_off: it must be greater than 0 and at most 100.", "percent_off")
    return float(value)


def update_coupon(world: World, params: Params, id_: str) -> Object:
    coupon = world.get("coupon", id_)
    coupon["metadata"] = params.metadata(coupon["metadata"])
    coupon["name"] = params.text("name", coupon["name"])
    return world.save(coupon, "coupon.updated")


def retrieve_coupon(world: World, params: Params, id_: str) -> Object:
    return _current(world, world.get("coupon", id_))


def delete_coupon(world: World, params: Params, id_: str) -> Object:
    return world.delete(world.get("coupon", id_), "coupon.deleted")


def coupons(world: World, params: Params) -> Iterator[Object]:
    return (_current(world, coupon) for coupon in world.listing(params, "coupon"))


def _current(world: World, coupon: Object) -> Object:
    """With `valid` as it is now."""
    used_up = coupon["max_redemptions"] is not None and coupon["times_redeemed"] >= coupon["max_redemptions"]
    late = coupon["redeem_by"] is not None and coupon["redeem_by"] < world.now()
    return coupon | {"valid": not used_up and not late}


def create_code(world: World, params: Params) -> Object:
    promotion = params.below("promotion")
    if promotion.choice("type", "coupon") is None:
        raise missing("promotion[type]")
    coupon = world.get("coupon", promotion.required("coupon"), "promotion[coupon]")
    code = params.text("code") or new_id("", 8).upper()
    if any(other["active"] and other["code"].lower() == code.lower() for other in world.store.find("promotion_code")):
        raise invalid(
            f"An active promotion code with `code: {code}` already exists.", "code", "resource_already_exists"
        )
    customer, limits = params.text("customer"), params.below("restrictions")
    if customer:
        world.get("customer", customer, "customer")
    item = {
        "id": new_id("promo_1"),
        "object": "promotion_code",
        "active": params.flag("active", True),
        "code": code,
        "created": world.now(),
        "customer": customer,
        "customer_account": None,
        "expires_at": params.number("expires_at"),
        "livemode": False,
        "max_redemptions": params.number("max_redemptions", least=1),
        "metadata": params.metadata(),
        "promotion": {"coupon": coupon["id"], "type": "coupon"},
        "restrictions": {
            "first_time_transaction": limits.flag("first_time_transaction"),
            "minimum_amount": limits.number("minimum_amount"),
            "minimum_amount_currency": limits.text("minimum_amount_currency"),
        },
        "times_redeemed": 0,
    }
    return world.add(item, "promotion_code.created")


def update_code(world: World, params: Params, id_: str) -> Object:
    item = world.get("promotion_code", id_)
    item["active"] = params.flag("active", item["active"])
    item["metadata"] = params.metadata(item["metadata"])
    return world.save(item, "promotion_code.updated")


def retrieve_code(world: World, params: Params, id_: str) -> Object:
    return world.get("promotion_code", id_)


def codes(world: World, params: Params) -> Iterator[Object]:
    """Codes are compared without regard to case."""
    code, coupon, customer = (params.text("code") or "").lower(), params.text("coupon"), params.text("customer")
    active = params.flag("active") if "active" in params else None
    for item in world.listing(params, "promotion_code"):
        if (
            code in ("", item["code"].lower())
            and coupon in (None, item["promotion"]["coupon"])
            and customer in (None, item["customer"])
            and active in (None, item["active"])
        ):
            yield item


def redeem(world: World, rows: list[Params], customer: Object, subscription: str, start: int) -> list[str]:
    """Make the discounts of a subscription; return their ids. ApiError if one may not be redeemed."""
    return [_redeem(world, row, customer, subscription, start) for row in rows]


def _redeem(world: World, row: Params, customer: Object, subscription: str, start: int) -> str:
    row.only(("coupon", "discount", "promotion_code"))
    if kept := row.text("discount"):
        return str(world.get("discount", kept, row.name("discount"))["id"])
    code = row.text("promotion_code")
    if code:
        promotion = usable(world, world.get("promotion_code", code, row.name("promotion_code")), customer)
        promotion["times_redeemed"] += 1
        world.save(promotion, "promotion_code.updated")
        coupon_id = promotion["promotion"]["coupon"]
    else:
        coupon_id = row.required("coupon")
    coupon = _current(world, world.get("coupon", coupon_id, row.name("coupon")))
    if not coupon["valid"]:
        raise invalid(f"Coupon expired: {coupon_id}", row.name("coupon"), "coupon_expired")
    coupon["times_redeemed"] += 1
    world.save(coupon, "coupon.updated")
    months = coupon["duration_in_months"]
    discount = {
        "id": new_id("di_1"),
        "object": "discount",
        "checkout_session": None,
        "customer": customer["id"],
        "customer_account": None,
        "end": periods.add(start, "month", months) if months else None,
        "invoice": None,
        "invoice_item": None,
        "promotion_code": code,
        "source": {"coupon": coupon_id, "type": "coupon"},
        "start": start,
        "subscription": subscription,
        "subscription_item": None,
    }
    world.add(discount, "customer.discount.created")
    return str(discount["id"])


def usable(world: World, item: Object, customer: Object | None) -> Object:
    """The promotion code, if this customer may redeem it now. ApiError with the reason if not."""
    late = item["expires_at"] is not None and item["expires_at"] < world.now()
    used_up = item["max_redemptions"] is not None and item["times_redeemed"] >= item["max_redemptions"]
    first = item["restrictions"]["first_time_transaction"]
    reason = None
    if not item["active"] or late or used_up:
        reason = "This promotion code is no longer active."
    elif item["customer"] and (customer is None or item["customer"] != customer["id"]):
        reason = "This promotion code cannot be redeemed because the associated customer does not match."
    elif first and customer and any(world.store.find("invoice", customer=customer["id"])):
        reason = "This promotion code cannot be redeemed because the associated customer has prior transactions."
    if reason:
        raise invalid(reason, "promotion_code", "promotion_code_unusable")
    return item


def apply(world: World, lines: list[Object], invoice: Object) -> list[Object]:
    """Write the discounts of an invoice into its lines; return them added up: [{"amount", "discount"}]."""
    totals = []
    for id_ in invoice["discounts"]:
        discount = world.store.get(id_)
        if discount is None or discount.get("_used", invoice["id"]) != invoice["id"]:
            continue
        if discount["end"] is not None and discount["end"] <= invoice["created"]:
            continue
        coupon = world.store.get(discount["source"]["coupon"])
        if coupon is None or coupon.get("deleted"):
            continue
        total, left = 0, coupon["amount_off"]
        for entry in lines:
            open_amount = entry["amount"] - sum(given["amount"] for given in entry["discount_amounts"])
            if not entry["discountable"] or open_amount <= 0:
                continue
            if left is None:
                cut = rounded(Decimal(open_amount) * Decimal(str(coupon["percent_off"])) / 100)
            else:
                cut = min(left, open_amount)
                left -= cut
            if cut:
                entry["discount_amounts"].append({"amount": cut, "discount": id_})
                total += cut
        if total and coupon["duration"] == "once":
            world.put(discount | {"_used": invoice["id"]})
        totals.append({"amount": total, "discount": id_})
    return totals
