"""Encoding JSON for events and responses."""

import json
from typing import Any

import orjson


def encode(value: Any) -> bytes:
    """Compact JSON in one line, as UTF-8."""
    try:
        return orjson.dumps(value)
    except TypeError:  # such as an integer beyond 64 bits, which a model's structured output may contain
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def encode_sorted(value: Any) -> bytes:
    """JSON that is the same for equal values, whatever the order of their keys. For digests."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return json.dumps(value, sort_keys=True).encode()
