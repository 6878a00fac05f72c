"""One value that satisfies a JSON schema, always the same one."""

import json
import math
import re
from collections.abc import Iterator
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

from devstack.openai.errors import invalid

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
_DEEP, _TOO_DEEP = 6, 40  # from here on only what is required; from here on it has no end


def instance(schema: dict[str, Any]) -> Any:
    """Raises a 400 for a schema that is malformed or has no finite value."""
    try:
        return _value(schema, schema, 0, "answer")
    except _MALFORMED as error:
        raise invalid(f"Invalid schema: {error!r}", "text.format.schema", "invalid_json_schema") from None


def _value(schema: Any, root: dict[str, Any], depth: int, name: str) -> Any:
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


def _kinds(schema: dict[str, Any]) -> list[str]:
    kind = schema.get("type")
    if kind is None:
        kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
    return [kind] if isinstance(kind, str) else kind


def _resolved(schema: Any, root: dict[str, Any], depth: int = 0) -> dict[str, Any]:
    """The schema without $ref, allOf, anyOf and oneOf."""
    for _ in range(_TOO_DEEP):
        if schema is True:
            return {"type": "string"}
        if not isinstance(schema, dict):
            break
        rest = dict(schema)
        if "$ref" in rest:
            schema = {**_pointed(rest.pop("$ref"), root), **rest}
        elif "allOf" in rest:
            schema = _merged([*rest.pop("allOf"), rest], root)
        elif choices := rest.pop("anyOf", None) or rest.pop("oneOf", None):
            schema = _merged([_simplest(choices, depth), rest], root)
        else:
            return rest
    raise invalid("Invalid schema: a part of it cannot be resolved.", "text.format.schema", "invalid_json_schema")


def _pointed(reference: str, root: dict[str, Any]) -> dict[str, Any]:
    here: Any = root
    try:
        for step in reference.removeprefix("#").split("/")[1:]:
            here = here[step.replace("~1", "/").replace("~0", "~")]
    except (KeyError, TypeError):
        raise invalid(
            f"Invalid schema: reference '{reference}' not found.", "text.format.schema", "invalid_json_schema"
        ) from None
    return here


def _merged(parts: list[Any], root: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
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
    """null only where it ends a nesting, and rather a plain choice than one that nests."""

    def weight(choice: Any) -> int:
        if isinstance(choice, dict) and choice.get("type") == "null":
            return 0 if depth >= _DEEP else 9
        return 3 if "$ref" in json.dumps(choice) else 1

    return min(choices, key=weight)


def _string(schema, root, depth, name) -> str:
    if pattern := schema.get("pattern"):
        text = "".join(_matching(parser.parse(pattern)))
        if not re.search(pattern, text):
            raise invalid(f"Invalid schema: pattern '{pattern}' is not supported.", "text.format.schema")
        return text
    text = _FORMATS.get(schema.get("format")) or f"demo {name}".replace("_", " ")
    if "format" in schema:
        return text
    return text.ljust(schema.get("minLength", 0), ".")[: schema.get("maxLength", len(text) + 10_000)]


def _number(schema, root, depth, name) -> float | int:
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


def _array(schema, root, depth, name) -> list[Any]:
    values = [_value(part, root, depth + 1, name) for part in schema.get("prefixItems", ())]
    least, most = schema.get("minItems", 0), schema.get("maxItems", 1_000)
    count = min(max(least, len(values) or (0 if depth >= _DEEP else 1)), most)
    item = schema.get("items", {"type": "string"})
    while len(values) < count:
        values.append(_distinct(item, root, depth + 1, name, values if schema.get("uniqueItems") else []))
    return values


def _distinct(item, root, depth, name, taken: list[Any]) -> Any:
    choices = _resolved(item, root).get("enum", [])
    value = next((choice for choice in choices if choice not in taken), None)
    if value is None:
        value = _value(item, root, depth, name)
        if value in taken and isinstance(value, str):
            value = _value(item, root, depth, f"{name} {len(taken) + 1}")
        elif value in taken:
            value += len(taken)
    return value


def _object(schema, root, depth, name) -> dict[str, Any]:
    properties, required = schema.get("properties", {}), schema.get("required", [])
    wanted = [key for key in properties if key in required or depth < _DEEP]
    wanted += [key for key in required if key not in properties]
    return {key: _value(properties.get(key, True), root, depth + 1, key) for key in wanted}


_MAKERS = {
    "string": _string,
    "integer": _number,
    "number": _number,
    "array": _array,
    "object": _object,
    "boolean": lambda *_: True,
}
_CATEGORIES = {
    op.CATEGORY_DIGIT: "1",
    op.CATEGORY_WORD: "a",
    op.CATEGORY_SPACE: " ",
    op.CATEGORY_NOT_DIGIT: "a",
    op.CATEGORY_NOT_WORD: "-",
    op.CATEGORY_NOT_SPACE: "a",
}


def _matching(tokens) -> Iterator[str]:
    """Pieces of a text that the parsed regular expression matches."""
    for code, value in tokens:
        if code is op.LITERAL:
            yield chr(value)
        elif code is op.NOT_LITERAL:
            yield "a" if value != ord("a") else "b"
        elif code is op.ANY:
            yield "a"
        elif code is op.IN:
            yield _member(value)
        elif code in (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT):
            least, most, inner = value
            yield from "".join(_matching(inner)) * min(max(least, 1), most)
        elif code is op.SUBPATTERN:
            yield from _matching(value[3])
        elif code is op.BRANCH:
            yield from _matching(value[1][0])


def _member(options) -> str:
    code, value = options[0]
    if code is op.NEGATE:
        excluded = {chr(value) for code, value in options[1:] if code is op.LITERAL}
        return next(char for char in "aA1-_ " if char not in excluded)
    if code is op.RANGE:
        return chr(value[0])
    return _CATEGORIES[value] if code is op.CATEGORY else chr(value)
