"""The lines of invoices: what a period costs, what was used, and what a change costs for the rest of a period."""

from decimal import ROUND_HALF_UP, Decimal

from devstack.stripe import meters, periods
from devstack.stripe.shapes import Object, nulls
from devstack.stripe.store import new_id
from devstack.stripe.world import World

TIMES = "\N{MULTIPLICATION SIGN}"


def rounded(amount: Decimal) -> int:
    """To a whole smallest unit, halves away from zero."""
    return int(amount.quantize(Decimal(1), ROUND_HALF_UP))


def amount(price: Object, quantity: Decimal | int) -> int:
    """What a quantity costs, in the smallest unit of the price's currency."""
    quantity = Decimal(quantity)
    if price["billing_scheme"] == "per_unit":
        return rounded(quantity * Decimal(price["unit_amount_decimal"]))
    if price["tiers_mode"] == "volume":
        tier = next(tier for tier in price["tiers"] if tier["up_to"] is None or quantity <= tier["up_to"])
        return rounded(_tier(tier, quantity))
    total, below = Decimal(0), Decimal(0)
    for number, tier in enumerate(price["tiers"]):
        top = quantity if tier["up_to"] is None else min(quantity, Decimal(tier["up_to"]))
        if top > below or number == 0:  # the first flat amount is due without any use, too
            total += _tier(tier, top - below)
        below = max(top, below)
    return rounded(total)


def _tier(tier: Object, quantity: Decimal) -> Decimal:
    return quantity * Decimal(tier["unit_amount_decimal"] or 0) + Decimal(tier["flat_amount_decimal"] or 0)


def metered(price: Object) -> bool:
    return bool(price["recurring"]["usage_type"] == "metered")


def line(
    world: World,
    item: Object,
    cost: int,
    start: int,
    end: int,
    description: str,
    *,
    quantity: int | None = None,
    proration: bool = False,
) -> Object:
    """A line for a subscription item."""
    price = world.get("price", item["price"])
    return {
        "id": new_id("il_1"),
        "object": "line_item",
        "amount": cost,
        "currency": price["currency"],
        "description": description,
        "discount_amounts": [],
        "discountable": not proration,
        "discounts": [],
        "invoice": None,
        "livemode": False,
        "metadata": {},
        "parent": {
            "invoice_item_details": None,
            "subscription_item_details": {
                "invoice_item": new_id("ii_1") if proration else None,
                "proration": proration,
                "proration_details": {"credited_items": None},
                "subscription": item["subscription"],
                "subscription_item": item["id"],
            },
            "type": "subscription_item_details",
        },
        "period": {"start": start, "end": end},
        "pretax_credit_amounts": [],
        "pricing": {
            "price_details": {"price": price["id"], "product": price["product"]},
            "type": "price_details",
            "unit_amount_decimal": price["unit_amount_decimal"] or "0",
        },
        "quantity": item.get("quantity") if quantity is None else quantity,
        "quantity_decimal": str(item.get("quantity", 0) if quantity is None else quantity),
        **nulls("subscription"),
        "subtotal": cost,
        "taxes": [],
    }


def licensed(world: World, item: Object, start: int, end: int, *, trial: bool = False) -> Object:
    """A period that is paid in advance; a trial costs nothing."""
    price = world.get("price", item["price"])
    name = world.get("product", price["product"])["name"]
    if trial:
        return line(world, item, 0, start, end, f"Trial period for {name}")
    cost = amount(price, item["quantity"])
    each = f"${price['unit_amount'] / 100:.2f}" if price["unit_amount"] is not None else "tiered"
    recurring = price["recurring"]
    return line(
        world, item, cost, start, end, f"{item['quantity']} {TIMES} {name} (at {each} / {recurring['interval']})"
    )


def used(world: World, item: Object, customer: str, start: int, end: int) -> Object:
    """What was used in a period, which is paid afterwards."""
    price = world.get("price", item["price"])
    meter = world.get("billing.meter", price["recurring"]["meter"])
    total = meters.usage(world, meter, customer, start, end)
    name = world.get("product", price["product"])["name"]
    cost = amount(price, max(total, Decimal(0)))
    result = line(world, item, cost, start, end, f"{total.normalize():f} {TIMES} {name}", quantity=int(total))
    result["quantity_decimal"] = format(total.normalize(), "f")
    return result


def share(cost: int, start: int, end: int, at: int) -> int:
    """The part of a period's cost that is for the time from `at` on."""
    return rounded(Decimal(cost) * Decimal(max(end - at, 0)) / Decimal(max(end - start, 1)))


def unused(world: World, item: Object, at: int) -> Object | None:
    """The credit for the rest of a period that was paid in advance; None if there is none."""
    price = world.get("price", item["price"])
    if metered(price):
        return None
    start, end = item["current_period_start"], item["current_period_end"]
    cost = -share(amount(price, item["quantity"]), start, end, at)
    name = world.get("product", price["product"])["name"]
    text = f"Unused time on {item['quantity']} {TIMES} {name} after {periods.day(at)}"
    return line(world, item, cost, at, end, text, proration=True)


def remaining(world: World, item: Object, at: int) -> Object | None:
    """What the rest of the period costs with a new price or quantity; None if it is paid afterwards."""
    price = world.get("price", item["price"])
    if metered(price):
        return None
    start, end = item["current_period_start"], item["current_period_end"]
    cost = share(amount(price, item["quantity"]), start, end, at)
    name = world.get("product", price["product"])["name"]
    text = f"Remaining time on {item['quantity']} {TIMES} {name} after {periods.day(at)}"
    return line(world, item, cost, at, end, text, proration=True)
