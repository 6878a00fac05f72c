"""Products and prices."""

from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation

from devstack.stripe.errors import invalid, malformed, missing
from devstack.stripe.form import Params
from devstack.stripe.shapes import Object, nulls
from devstack.stripe.store import new_id
from devstack.stripe.world import World

_TEXTS = "description statement_descriptor unit_label url name"
PRODUCT_FIELDS = f"{_TEXTS} active default_price metadata marketing_features"
PRICE_FIELDS = "active currency nickname lookup_key transfer_lookup_key metadata product product_data recurring unit_amount unit_amount_decimal billing_scheme tiers tiers_mode tax_behavior"
_INTERVALS = "day week month year"
MOST = 99_999_999  # of a unit amount


def create_product(world: World, params: Params) -> Object:
    id_ = params.text("id") or new_id("prod_", 14)
    if world.store.get(id_):
        raise invalid(f"Product already exists with ID {id_}.", "id", "resource_already_exists")
    product: Object = {
        "id": id_,
        "object": "product",
        "active": True,
        "created": world.now(),
        "default_price": None,
        "images": [],
        "livemode": False,
        "marketing_features": [],
        "metadata": {},
        "name": params.required("name"),
        **nulls("description package_dimensions shippable statement_descriptor tax_code unit_label url"),
        "type": "service",
        "updated": world.now(),
    }
    _apply_to_product(world, product, params)
    return world.add(product, "product.created")


def update_product(world: World, params: Params, id_: str) -> Object:
    product = world.get("product", id_)
    _apply_to_product(world, product, params)
    product["updated"] = world.now()
    return world.save(product, "product.updated")


def _apply_to_product(world: World, product: Object, params: Params) -> None:
    for name in _TEXTS.split():
        if name in params:
            product[name] = params.text(name)
    product["active"] = params.flag("active", product["active"])
    product["metadata"] = params.metadata(product["metadata"])
    if price := params.text("default_price"):
        product["default_price"] = world.get("price", price, "default_price")["id"]
    if "marketing_features" in params:
        product["marketing_features"] = [{"name": row.required("name")} for row in params.rows("marketing_features")]


def retrieve_product(world: World, params: Params, id_: str) -> Object:
    return world.get("product", id_)


def delete_product(world: World, params: Params, id_: str) -> Object:
    product = world.get("product", id_)
    if any(price["product"] == id_ for price in world.store.find("price")):
        raise invalid("This product cannot be deleted because it has one or more user-created prices.", "id")
    return world.delete(product, "product.deleted")


def products(world: World, params: Params) -> Iterator[Object]:
    ids = params.texts("ids")
    wanted = _activity(params)
    return (item for item in world.listing(params, "product") if wanted(item) and (not ids or item["id"] in ids))


def _activity(params: Params) -> Callable[[Object], bool]:
    wanted = params.flag("active") if "active" in params else None
    return lambda item: wanted is None or item["active"] is wanted


def create_price(world: World, params: Params) -> Object:
    currency = params.required("currency").lower()
    if "product_data" in params:
        params.below("product_data").only(f"id {PRODUCT_FIELDS}".split())
        product = create_product(world, params.below("product_data"))
    elif "product" in params:
        product = world.get("product", params.required("product"), "product")
    else:
        raise missing("product")
    price: Object = {
        "id": new_id("price_1"),
        "object": "price",
        "active": params.flag("active", True),
        "billing_scheme": params.choice("billing_scheme", "per_unit tiered", "per_unit"),
        "created": world.now(),
        "currency": currency,
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": None,
        "metadata": params.metadata(),
        "nickname": params.text("nickname"),
        "product": product["id"],
        "recurring": _recurring(world, params.below("recurring")) if "recurring" in params else None,
        "tax_behavior": params.choice("tax_behavior", "exclusive inclusive unspecified", "unspecified"),
        "tiers_mode": params.choice("tiers_mode", "graduated volume"),
        "transform_quantity": None,
        "type": "recurring" if "recurring" in params else "one_time",
        **_amounts(params),
    }
    _take_lookup_key(world, price, params)
    return world.add(price, "price.created")


def _recurring(world: World, params: Params) -> Object:
    params.only(("interval", "interval_count", "usage_type", "meter"))
    interval = params.choice("interval", _INTERVALS)
    if interval is None:
        raise missing(params.name("interval"))
    usage = params.choice("usage_type", "licensed metered", "licensed")
    meter = params.text("meter")
    if usage == "metered" and meter is None:
        raise malformed("Metered prices must be backed by a meter: set recurring[meter].", params.name("meter"))
    if meter is not None:
        if usage != "metered":
            raise malformed("A meter needs usage_type=metered.", params.name("usage_type"))
        if world.get("billing.meter", meter, params.name("meter"))["status"] != "active":
            raise invalid("The meter is inactive.", params.name("meter"))
    return {
        "interval": interval,
        "interval_count": params.number("interval_count", 1, least=1),
        "meter": meter,
        "trial_period_days": None,
        "usage_type": usage,
    }


def decimal(params: Params, name: str) -> Decimal | None:
    """An amount of the smallest unit of a currency, with up to 12 decimal places."""
    value = params.text(name)
    if value is None:
        return None
    try:
        number = Decimal(value)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or number < 0 or number > MOST:
        raise malformed(f"Invalid decimal: {value}", params.name(name), "parameter_invalid_integer")
    return number


def _pair(params: Params, name: str) -> tuple[int | None, str | None]:
    """An amount as a whole number, if it is one, and as a decimal text."""
    whole, exact = params.number(name, least=0), decimal(params, f"{name}_decimal")
    if whole is not None:
        return whole, str(whole)
    if exact is None:
        return None, None
    return (int(exact) if exact == exact.to_integral_value() else None), format(exact.normalize(), "f")


def _amounts(params: Params) -> Object:
    amount, exact = _pair(params, "unit_amount")
    tiered = params.text("billing_scheme") == "tiered"
    if tiered and not (params.rows("tiers") and params.text("tiers_mode")):
        raise missing("tiers" if params.text("tiers_mode") else "tiers_mode")
    if not tiered and exact is None:
        raise missing("unit_amount")
    result: Object = {"unit_amount": amount, "unit_amount_decimal": exact}
    return result | {"tiers": [_tier(row) for row in params.rows("tiers")]} if tiered else result


def _tier(row: Params) -> Object:
    amount, exact = _pair(row, "unit_amount")
    flat, flat_exact = _pair(row, "flat_amount")
    up_to = row.required("up_to")
    return {
        "flat_amount": flat,
        "flat_amount_decimal": flat_exact,
        "unit_amount": amount,
        "unit_amount_decimal": exact,
        "up_to": None if up_to == "inf" else row.number("up_to", least=1),
    }


def update_price(world: World, params: Params, id_: str) -> Object:
    price = world.get("price", id_)
    price["active"] = params.flag("active", price["active"])
    price["metadata"] = params.metadata(price["metadata"])
    if "nickname" in params:
        price["nickname"] = params.text("nickname")
    _take_lookup_key(world, price, params)
    return world.save(price, "price.updated")


def _take_lookup_key(world: World, price: Object, params: Params) -> None:
    """Give a price its lookup key; with transfer_lookup_key it is taken from the price that has it."""
    if "lookup_key" not in params:
        return
    key = params.text("lookup_key", longest=200)
    for holder in list(world.store.find("price", tags=[key])) if key else ():
        if holder["id"] == price["id"]:
            continue
        if not params.flag("transfer_lookup_key"):
            raise invalid(
                f"A price (`{holder['id']}`) already uses that lookup key.", "lookup_key", "resource_already_exists"
            )
        holder["lookup_key"] = None
        world.save(holder, "price.updated")
    price["lookup_key"] = key


def retrieve_price(world: World, params: Params, id_: str) -> Object:
    return world.get("price", id_)


def prices(world: World, params: Params) -> Iterator[Object]:
    keys, product = params.texts("lookup_keys"), params.text("product")
    recurring, active = params.below("recurring"), _activity(params)
    wanted = {name: recurring.text(name) for name in ("interval", "usage_type", "meter") if name in recurring}
    kind, currency = params.text("type"), params.text("currency")
    for price in world.listing(params, "price", tags=keys or None):
        matches = (
            active(price)
            and product in (None, price["product"])
            and kind in (None, price["type"])
            and currency in (None, price["currency"])
            and all((price["recurring"] or {}).get(name) == value for name, value in wanted.items())
        )
        if matches:
            yield price
