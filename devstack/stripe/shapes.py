"""What all objects have in common, and how they look from outside."""

from typing import Any

Object = dict[str, Any]
API_VERSION = "2026-10-28.endive"
SECOND, HOUR, DAY = 1, 3600, 86400

# How an error names a kind of object.
NAMES = {
    "payment_method": "PaymentMethod",
    "promotion_code": "promotion code",
    "payment_intent": "payment_intent",
    "billing.meter": "meter",
    "test_helpers.test_clock": "test clock",
    "webhook_endpoint": "webhook endpoint",
}


def nulls(names: str) -> Object:
    """{name: None} for these names, which spaces separate."""
    return dict.fromkeys(names.split())


def listed(data: list[Object], url: str, has_more: bool = False) -> Object:
    return {"object": "list", "data": data, "has_more": has_more, "url": url}


def outside(item: Object) -> Object:
    """The object without what only the stand-in knows of it: names that begin with an underscore."""
    return {name: value for name, value in item.items() if not name.startswith("_")}


def changed(before: Object, after: Object) -> Object:
    """What an event calls `previous_attributes`: the earlier values of what differs."""
    result: Object = {}
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        nested = isinstance(old, dict) and isinstance(new, dict) and old.get("object") != "list"
        result[name] = changed(old, new) if nested else old  # type: ignore[arg-type]
    return result
