"""Encoding JSON for events, responses and columns."""

import json
import re
from typing import Any

import orjson

# Backslashes and pairs of surrogates stay; NUL and single surrogates do not.
_ESCAPES = re.compile(r"\\\\|\\ud[89ab]..\\ud[c-f]..|(\\u0000|\\ud[89a-f]..)", re.IGNORECASE)


def encode(value: Any) -> bytes:
    """Compact JSON in one line, as UTF-8."""
    try:
        return orjson.dumps(value)
    except (
        TypeError
    ):  # such as an integer beyond 64 bits or half of a surrogate pair, which a model's answer may contain
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def storable(value: Any) -> str:
    """JSON for a jsonb column, which takes neither NUL nor half of a surrogate pair: they become U+FFFD."""
    try:
        text = orjson.dumps(value, default=str).decode()
    except TypeError:
        text = json.dumps(value, default=str)
    return storable_json(text)


def storable_value(value: Any) -> Any:
    """The JSON value, as it comes back from a jsonb column."""
    return json.loads(storable(value))


def storable_json(text: str) -> str:
    """JSON that says the same, and is storable."""
    return _ESCAPES.sub(_replaced, text) if "\\u" in text else text


def storable_text(text: str) -> str:
    """Text for a column of texts; as `storable`."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _replaced(match: re.Match[str]) -> str:
    return "\\ufffd" if match[1] else match[0]


def encode_sorted(value: Any) -> bytes:
    """JSON that is the same for equal values, whatever the order of their keys. For digests."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return json.dumps(value, sort_keys=True).encode()
