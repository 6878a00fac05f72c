"""JSON in one line, as events and answers travel."""

import json
from typing import Any

import orjson


def encode(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # such as a whole number beyond 64 bits, which a model's structured output may hold
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
