"""The items of a subscription: a price, a quantity, and the current period."""

from devstack.stripe import lines, periods
from devstack.stripe.errors import invalid, malformed, missing
from devstack.stripe.form import Params
from devstack.stripe.shapes import Object
from devstack.stripe.store import new_id
from devstack.stripe.world import World

_MOST = 20
_FIELDS = ("id", "price", "quantity", "metadata", "deleted")


def read(world: World, params: Params, subscription: str, now: int, before: list[Object] | None = None) -> list[Object]:
    """The items after this request: named ones are changed or deleted, others are added."""
    result = {item["id"]: dict(item) for item in before or []}
    for row in params.rows("items"):
        row.only(_FIELDS)
        id_ = row.text("id")
        if id_ and id_ not in result:
            raise invalid(f"No such subscription item: '{id_}'", row.name("id"), "resource_missing")
        if id_ and row.flag("deleted"):
            del result[id_]
            continue
        item = result[id_] if id_ else _new(subscription, now)
        _apply(world, item, row)
        result[item["id"]] = item
    _check(world, list(result.values()), params)
    return list(result.values())


def _new(subscription: str, now: int) -> Object:
    return {
        "id": new_id("si_", 14),
        "object": "subscription_item",
        "billing_thresholds": None,
        "created": now,
        "current_period_end": 0,
        "current_period_start": 0,
        "discounts": [],
        "metadata": {},
        "price": None,
        "subscription": subscription,
        "tax_rates": [],
    }


def _apply(world: World, item: Object, row: Params) -> None:
    if id_ := row.text("price"):
        price = world.get("price", id_, row.name("price"))
        if not price["recurring"]:
            raise invalid(
                "The price specified is set to `type=one_time` but this field only accepts prices with `type=recurring`.",
                row.name("price"),
            )
        if not price["active"] and item["price"] != id_:
            raise invalid("The price specified is inactive. This field only accepts active prices.", row.name("price"))
        item["price"] = id_
    if item["price"] is None:
        raise missing(row.name("price"))
    quantity = row.number("quantity", least=0)
    if lines.metered(world.get("price", item["price"])):
        if quantity is not None:
            raise invalid("You may not specify quantity when the price is metered.", row.name("quantity"))
        item.pop("quantity", None)
    else:
        item["quantity"] = item.get("quantity", 1) if quantity is None else quantity
    item["metadata"] = row.metadata(item["metadata"])


def _check(world: World, items: list[Object], params: Params) -> None:
    if not items:
        raise malformed("A subscription must have at least one active item.", "items", "parameter_missing")
    if len(items) > _MOST:
        raise malformed(f"You can only add up to {_MOST} items.", "items")
    prices = [world.get("price", item["price"]) for item in items]
    if len({item["price"] for item in items}) < len(items):
        raise invalid("Cannot add multiple subscription items with the same plan.", "items")
    if len({(price["currency"], *interval(price)) for price in prices}) > 1:
        raise invalid("Currency and interval fields must match across all plans on this subscription.", "items")


def interval(price: Object) -> tuple[str, int]:
    """("month", 1)"""
    return price["recurring"]["interval"], price["recurring"]["interval_count"]


def interval_of(world: World, items: list[Object]) -> tuple[str, int]:
    return interval(world.get("price", items[0]["price"]))


def begin(items: list[Object], start: int, end: int) -> None:
    """Set the current period of all items."""
    for item in items:
        item["current_period_start"], item["current_period_end"] = start, end


def period_end(world: World, items: list[Object], start: int, anchor: int) -> int:
    """The end of a period that begins at `start`."""
    unit, count = interval_of(world, items)
    return periods.add(start, unit, count, anchor)


def advance_lines(world: World, items: list[Object], *, trial: bool = False) -> list[Object]:
    """What the current period costs in advance; the first line of a metered price is for nothing used yet."""
    result = []
    for item in items:
        start, end = item["current_period_start"], item["current_period_end"]
        if not lines.metered(world.get("price", item["price"])):
            result.append(lines.licensed(world, item, start, end, trial=trial))
    return result


def use_lines(world: World, items: list[Object], customer: str) -> list[Object]:
    """What was used in the current period, which is over or cut short."""
    return [
        lines.used(world, item, customer, item["current_period_start"], item["current_period_end"])
        for item in items
        if lines.metered(world.get("price", item["price"]))
    ]


def free(world: World, items: list[Object]) -> bool:
    """Whether nothing of it is paid in advance."""
    prices = [(item, world.get("price", item["price"])) for item in items]
    return all(lines.metered(price) or not lines.amount(price, item["quantity"]) for item, price in prices)
