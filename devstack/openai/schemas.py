"""A value that satisfies a JSON schema, always the same one for the same schema."""

import json
import math
import re
from collections.abc import Callable
from typing import Any

from devstack.openai.errors import invalid
from devstack.openai.patterns import matching_text

_FORMATS = {
    "date-time": "2025-01-01T12:00:00Z",
    "date": "2025-01-01",
    "time": "12:00:00Z",
    "duration": "P1D",
    "email": "demo@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "uri": "https://example.com/",
}
_MALFORMED = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    StopIteration,
    TypeError,
    ValueError,
    re.error,
)
_DEEP = 6  # from this depth on, optional parts are left out
_TOO_DEEP = 40  # at this depth the schema is taken to be endless
Schema = dict[str, Any]


def instance(schema: Schema) -> Any:
    """A value that satisfies the schema. ApiError 400 if the schema is malformed or has no finite value."""
    try:
        return _value(schema, schema, 0, "answer")
    except _MALFORMED as error:
        raise invalid(f"Invalid schema: {error!r}", "text.format.schema", "invalid_json_schema") from None


def _value(schema: Any, root: Schema, depth: int, name: str) -> Any:
    if depth > _TOO_DEEP:
        raise invalid("Invalid schema: it has no finite value.", "text.format.schema", "invalid_json_schema")
    schema = _resolved(schema, root, depth)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    kinds = _kinds(schema)
    if "null" in kinds and (depth >= _DEEP or kinds == ["null"]):
        return None
    kind = next(kind for kind in kinds if kind != "null")
    return _MAKERS[kind](schema, root, depth, name)


def _kinds(schema: Schema) -> list[str]:
    kind = schema.get("type")
    if kind is None:
        kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
    return [kind] if isinstance(kind, str) else kind


def _resolved(schema: Any, root: Schema, depth: int = 0) -> Schema:
    """The schema with $ref, allOf, anyOf and oneOf replaced by what they stand for."""
    for _ in range(_TOO_DEEP):
        if schema is True:
            return {"type": "string"}
        if not isinstance(schema, dict):
            break
        rest = dict(schema)
        if "$ref" in rest:
            schema = {**_dereferenced(rest.pop("$ref"), root), **rest}
        elif "allOf" in rest:
            schema = _merged([*rest.pop("allOf"), rest], root)
        elif choices := rest.pop("anyOf", None) or rest.pop("oneOf", None):
            schema = _merged([_simplest(choices, depth), rest], root)
        else:
            return rest
    raise invalid("Invalid schema: a part of it cannot be resolved.", "text.format.schema", "invalid_json_schema")


def _dereferenced(reference: str, root: Schema) -> Schema:
    target: Any = root
    try:
        for step in reference.removeprefix("#").split("/")[1:]:
            target = target[step.replace("~1", "/").replace("~0", "~")]
    except (KeyError, TypeError):
        raise invalid(
            f"Invalid schema: reference '{reference}' not found.", "text.format.schema", "invalid_json_schema"
        ) from None
    return dict(target)


def _merged(parts: list[Any], root: Schema) -> Schema:
    result: Schema = {}
    for part in (_resolved(part, root) if "$ref" in part or "allOf" in part else part for part in parts):
        properties = {**result.get("properties", {}), **part.get("properties", {})}
        required = [*result.get("required", []), *part.get("required", [])]
        result |= part
        if properties:
            result["properties"] = properties
        if required:
            result["required"] = required
    return result


def _simplest(choices: list[Any], depth: int) -> Any:
    """The choice that ends soonest: one without a $ref, and null only at a great depth."""

    def weight(choice: Any) -> int:
        if isinstance(choice, dict) and choice.get("type") == "null":
            return 0 if depth >= _DEEP else 9
        return 3 if "$ref" in json.dumps(choice) else 1

    return min(choices, key=weight)


def _string(schema: Schema, root: Schema, depth: int, name: str) -> str:
    if pattern := schema.get("pattern"):
        return matching_text(pattern)
    text = _FORMATS.get(schema.get("format", "")) or f"demo {name}".replace("_", " ")
    if "format" in schema:
        return text
    return text.ljust(schema.get("minLength", 0), ".")[: schema.get("maxLength", len(text) + 10_000)]


def _number(schema: Schema, root: Schema, depth: int, name: str) -> float | int:
    whole = _kinds(schema)[0] == "integer"
    step = schema.get("multipleOf") or 1
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    bounds = [bound for bound in (low, above) if bound is not None]
    value = math.ceil(max(bounds, default=step) / step) * step
    if value == above:
        value += step
    if (high is not None and value > high) or (below is not None and value >= below):
        top = min(bound for bound in (high, below) if bound is not None)
        value = math.floor(top / step) * step if not bounds else (max(bounds) + top) / 2
        value = value - step if value == below else value
    return int(value) if whole else value


def _array(schema: Schema, root: Schema, depth: int, name: str) -> list[Any]:
    values = [_value(part, root, depth + 1, name) for part in schema.get("prefixItems", ())]
    low, high = schema.get("minItems", 0), schema.get("maxItems", 1_000)
    count = min(max(low, len(values) or (0 if depth >= _DEEP else 1)), high)
    item = schema.get("items", {"type": "string"})
    while len(values) < count:
        values.append(_distinct(item, root, depth + 1, name, values if schema.get("uniqueItems") else []))
    return values


def _distinct(item: Any, root: Schema, depth: int, name: str, taken: list[Any]) -> Any:
    choices = _resolved(item, root).get("enum", [])
    value = next((choice for choice in choices if choice not in taken), None)
    if value is None:
        value = _value(item, root, depth, name)
        if value in taken and isinstance(value, str):
            value = _value(item, root, depth, f"{name} {len(taken) + 1}")
        elif value in taken:
            value += len(taken)
    return value


def _object(schema: Schema, root: Schema, depth: int, name: str) -> dict[str, Any]:
    properties, required = schema.get("properties", {}), schema.get("required", [])
    keys = [key for key in properties if key in required or depth < _DEEP]
    keys += [key for key in required if key not in properties]
    return {key: _value(properties.get(key, True), root, depth + 1, key) for key in keys}


_MAKERS: dict[str, Callable[[Schema, Schema, int, str], Any]] = {
    "string": _string,
    "integer": _number,
    "number": _number,
    "array": _array,
    "object": _object,
    "boolean": lambda *_: True,
}
