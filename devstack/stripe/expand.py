"""The parameter `expand`: ids become objects, and fields appear that are shown only when asked for."""

from collections.abc import Callable
from typing import Any

from devstack.stripe import checkout, payments
from devstack.stripe.errors import malformed
from devstack.stripe.shapes import Object, listed
from devstack.stripe.world import World

_DEEPEST = 4
_OPAQUE = {
    "client_reference_id",
    "client_secret",
    "description",
    "id",
    "object",
    "url",
}  # texts that are no ids of objects


def _payments(world: World, item: Object) -> Object:
    return listed(payments.of_invoice(world, item["id"]), f"/v1/invoice_payments?invoice={item['id']}")


def _secret(world: World, item: Object) -> Object | None:
    intent = world.store.get(item.get("_intent") or "")
    return {"client_secret": intent["client_secret"], "type": "payment_intent"} if intent else None


def _line_items(world: World, item: Object) -> Object:
    return listed(checkout.line_items(world, item), f"/v1/checkout/sessions/{item['id']}/line_items")


def _subscriptions(world: World, item: Object) -> Object:
    found = [world.shown(each) for each in world.store.find("subscription", customer=item["id"])]
    return listed(found, f"/v1/customers/{item['id']}/subscriptions") | {"total_count": len(found)}


def _tiers(world: World, item: Object) -> list[Object]:
    return list(item.get("tiers", []))


# Fields that objects have only if they are expanded.
HIDDEN: dict[tuple[str, str], Callable[[World, Object], Any]] = {
    ("invoice", "payments"): _payments,
    ("invoice", "confirmation_secret"): _secret,
    ("checkout.session", "line_items"): _line_items,
    ("customer", "subscriptions"): _subscriptions,
    ("price", "tiers"): _tiers,
}


def hide(item: Object) -> Object:
    """An object as it is answered without `expand`."""
    if item.get("object") == "price":
        return {name: value for name, value in item.items() if name != "tiers"}
    return item


def expand(world: World, answer: Object, paths: list[str]) -> Object:
    """Expand these paths, such as latest_invoice.payments, or data.customer in lists."""
    for path in paths:
        names = path.split(".")
        if len([name for name in names if name != "data"]) > _DEEPEST:
            raise malformed(f"You cannot expand more than {_DEEPEST} levels of a property. Property: {path}", "expand")
        _expand(world, answer, names, path)
    return answer


def _expand(world: World, node: Object, names: list[str], path: str) -> None:
    name, rest = names[0], names[1:]
    hidden = HIDDEN.get((node.get("object", ""), name))
    if hidden and not isinstance(node.get(name), dict):
        node[name] = hidden(world, world.store.get(node["id"]) or node)
    if name not in node:
        raise malformed(
            f"This property cannot be expanded ({path}). You may want to try expanding 'data.{path}'.", "expand"
        )
    value = node[name]
    if isinstance(value, str):
        value = node[name] = _found(world, value, name, path)
    elif isinstance(value, list) and not rest:
        node[name] = [_found(world, each, name, path) if isinstance(each, str) else each for each in value]
    for child in node[name] if isinstance(node[name], list) else [node[name]]:
        if rest and isinstance(child, dict):
            _expand(world, child, rest, path)


def _found(world: World, id_: str, name: str, path: str) -> Object:
    stored = None if name in _OPAQUE else world.store.get(id_)
    if stored is None:
        raise malformed(f"This property cannot be expanded ({path}).", "expand")
    return hide(world.shown(stored))
