"""Bodies and queries against their schemas."""

import json
from typing import Any, TypeVar

import falcon
from pydantic import BaseModel, ValidationError

from edge.errors import Invalid, NotJson, TooLarge
from models.settings import settings

Schema = TypeVar("Schema", bound=BaseModel)


def body(req: falcon.Request, schema: type[Schema]) -> Schema:
    """The request's JSON body, valid. 413, 415 or 422 otherwise."""
    raw = _read(req)
    if raw and "json" not in (req.content_type or "").lower():
        raise NotJson()
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError):
        raise Invalid([{"loc": ["body"], "msg": "The body is not valid JSON.", "type": "json_invalid"}]) from None
    if path := _unstorable(data):
        raise Invalid(
            [
                {
                    "loc": ["body", *path],
                    "msg": "The text has a character that cannot be stored.",
                    "type": "string_unicode",
                }
            ]
        )
    return _check(schema, data, "body")


def query(req: falcon.Request, schema: type[Schema]) -> Schema:
    return _check(schema, {name: req.params[name] for name in schema.model_fields if name in req.params}, "query")


def _check(schema: type[Schema], data: Any, where: str) -> Schema:
    try:
        return schema.model_validate(data)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise Invalid(
            [{"loc": [where, *item["loc"]], "msg": item["msg"], "type": item["type"]} for item in found]
        ) from None


def _read(req: falcon.Request) -> bytes:
    limit = settings.request_body_limit_bytes
    if (req.content_length or 0) > limit:
        raise TooLarge(f"The request body may have {limit} bytes at most.")
    raw = req.bounded_stream.read(limit + 1) if req.content_length else req.stream.read(limit + 1)
    if len(raw) > limit:
        raise TooLarge(f"The request body may have {limit} bytes at most.")
    return raw


def _unstorable(data: Any) -> list[str | int] | None:
    """The path to the first text that Postgres or UTF-8 cannot hold: NUL, or half a surrogate pair."""
    pending: list[tuple[list[str | int], Any]] = [([], data)]
    while pending:
        path, value = pending.pop()
        if isinstance(value, str):
            if "\0" in value or not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
                return path
        elif isinstance(value, list):
            pending += [([*path, n], item) for n, item in enumerate(value)]
        elif isinstance(value, dict):
            pending += [(path, key) for key in value] + [([*path, key], item) for key, item in value.items()]
    return None
