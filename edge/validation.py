"""Parses bodies and queries, and checks them against their schemas."""

import json
import math
from typing import Any, TypeVar

import pydantic
from pydantic import BaseModel

from edge.errors import Invalid, NotJson, TooLarge
from edge.request import Request
from edge.schemas.common import ValidationError
from models.platform.settings import settings

Schema = TypeVar("Schema", bound=BaseModel)


def body(req: Request, schema: type[Schema]) -> Schema:
    """The request's JSON body as its schema. TooLarge (413), NotJson (415) or Invalid (422) if it cannot be that."""
    raw = _read(req)
    if raw and not _is_json(req.content_type or ""):
        raise NotJson()
    try:
        data = json.loads(raw, parse_constant=_reject_constant)
    except (ValueError, RecursionError):
        text = "The body is not valid JSON." if raw else "The body is missing: send a JSON object."
        raise Invalid.at("body", msg=text, code="json_invalid") from None
    _require_storable(data, "body")
    return _check(schema, data, "body")


def query(req: Request, schema: type[Schema]) -> Schema:
    """The query parameters that the schema names; others are ignored. Invalid (422) if they do not fit it."""
    params = {name: req.params[name] for name in schema.model_fields if name in req.params}
    _require_storable(params, "query")
    return _check(schema, params, "query")


def _check(schema: type[Schema], data: Any, where: str) -> Schema:
    try:
        return schema.model_validate(data)
    except RecursionError:
        raise Invalid.at(where, msg="The body is nested too deeply.", code="recursion") from None
    except pydantic.ValidationError as error:
        items = error.errors(include_url=False, include_context=False, include_input=False)
        problems = [ValidationError(loc=[where, *item["loc"]], msg=item["msg"], type=item["type"]) for item in items]
        raise Invalid(problems) from None


def _read(req: Request) -> bytes:
    limit = settings.request_body_limit_bytes
    if (req.content_length or 0) > limit:
        raise TooLarge(f"The request body may have {limit} bytes at most.")
    raw = req.bounded_stream.read(limit + 1) if req.content_length else req.stream.read(limit + 1)
    if len(raw) > limit:
        raise TooLarge(f"The request body may have {limit} bytes at most.")
    if len(raw) < (req.content_length or 0):  # the client broke off; the part that came may be valid JSON by chance
        raise Invalid.at("body", msg="The body is shorter than its Content-Length.", code="json_invalid")
    return raw


def _is_json(content_type: str) -> bool:
    """Whether the media type is JSON: application/json, text/json or application/<name>+json, whatever its parameters."""
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type.endswith(("/json", "+json"))


def _reject_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _require_storable(data: Any, where: str) -> None:
    path = _unstorable(data)
    if path is not None:
        raise Invalid.at(where, *path, msg="The value cannot be stored.", code="value_unstorable")


def storable(text: str) -> bool:
    """Whether Postgres can store the text: no NUL, no lone surrogate."""
    return "\0" not in text and (text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text))


def _unstorable(data: Any) -> list[str | int] | None:
    """The path to a value that cannot be stored; None if all can. A loop, because deep nesting would exceed the stack."""
    pending: list[tuple[list[str | int], Any]] = [([], data)]
    while pending:
        path, value = pending.pop()
        if isinstance(value, str):
            if not storable(value):
                return path
        elif isinstance(value, float):
            if not math.isfinite(value):
                return path
        elif isinstance(value, list):
            pending += [([*path, n], item) for n, item in enumerate(value)]
        elif isinstance(value, dict):
            pending += [(path, key) for key in value] + [([*path, key], item) for key, item in value.items()]
    return None
