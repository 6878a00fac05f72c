"""Parses bodies and queries, and checks them against their schemas."""

import math
import re
from collections.abc import Iterable
from typing import Any, TypeVar, get_origin

import falcon
import pydantic
from pydantic import BaseModel

from edge.bodies import BodyLimits, parse_form, parse_json, read_body
from edge.errors import Invalid, NotForm, NotJson
from edge.request import Request
from edge.schemas.common import ValidationError

Schema = TypeVar("Schema", bound=BaseModel)
MAX_PROBLEMS = 100  # that one answer lists
OUR_OWN = "Value error, "  # what pydantic writes before the text of a ValueError
UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def body(req: Request, schema: type[Schema]) -> Schema:
    """The request's JSON body as its schema.

    TooLarge (413), NotJson (415), Invalid (422) or BodyTooSlow (408) if it cannot be that.
    """
    return parsed(req, read_body(req, BodyLimits.of(req)), schema)


def parsed(req: Request, raw: bytes, schema: type[Schema]) -> Schema:
    """A JSON body that was read already, as its schema. NotJson (415) or Invalid (422) if it cannot be that."""
    if raw and not _is_json(req.content_type or ""):
        raise NotJson()
    try:
        data = parse_json(raw, BodyLimits.of(req))
    except ValueError:
        text = "The body is not valid JSON." if raw else "The body is missing: send a JSON object."
        raise Invalid.at("body", msg=text, code="json_invalid") from None
    _require_storable(data, "body")
    return _check(schema, data, "body")


def query(req: Request, schema: type[Schema]) -> Schema:
    """The query parameters that the schema names; others are ignored. Invalid (422) if they do not fit it."""
    params = {name: req.params[name] for name in schema.model_fields if name in req.params}
    _require_storable(params, "query")
    return _check(schema, params, "query")


def form(req: Request, schema: type[Schema]) -> Schema:
    """The form that a browser has sent, as its schema. A field that is a list takes all values; any other, the last one.

    TooLarge (413), NotForm (415), Invalid (422) or BodyTooSlow (408) if it cannot be that.
    """
    limits = BodyLimits.of(req)
    raw = read_body(req, limits)
    if (req.content_type or "").partition(";")[0].strip().lower() != falcon.MEDIA_URLENCODED:
        raise NotForm()
    try:
        values = parse_form(raw, limits)
    except ValueError:
        raise Invalid.at("body", msg="The form is not valid.", code="form_invalid") from None
    lists = {name for name, field in schema.model_fields.items() if get_origin(field.annotation) is list}
    data = {
        name: value if name in lists else value[-1] for name, value in values.items() if name in schema.model_fields
    }
    _require_storable(data, "body")
    return _check(schema, data, "body")


def _check(schema: type[Schema], data: Any, where: str) -> Schema:
    try:
        return schema.model_validate(data)
    except pydantic.ValidationError as error:
        items = error.errors(include_url=False, include_context=False, include_input=False)[:MAX_PROBLEMS]
        problems = [
            ValidationError(loc=[where, *item["loc"]], msg=item["msg"].removeprefix(OUR_OWN), type=item["type"])
            for item in items
        ]
        raise Invalid(problems) from None


def _is_json(content_type: str) -> bool:
    """Whether the media type is JSON: application/json, text/json or application/<name>+json, whatever its parameters."""
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type.endswith(("/json", "+json"))


def _require_storable(data: Any, where: str) -> None:
    path = unstorable(data)
    if path is not None:
        raise Invalid.at(where, *path, msg="The value cannot be stored.", code="value_unstorable")


def storable(text: str) -> bool:
    """Whether Postgres can store the text: no NUL, no lone surrogate."""
    return UNSTORABLE.search(text) is None


def unstorable(data: Any) -> list[str | int] | None:
    """The path to a value that cannot be stored; None if all can. The depth is limited before."""
    if isinstance(data, str):
        return None if storable(data) else []
    if isinstance(data, float):
        return None if math.isfinite(data) else []
    if isinstance(data, dict):
        return [] if not all(map(storable, data)) else _unstorable_item(data.items())
    return _unstorable_item(enumerate(data)) if isinstance(data, list) else None


def _unstorable_item(items: Iterable[tuple[str | int, Any]]) -> list[str | int] | None:
    for key, value in items:
        path = unstorable(value)
        if path is not None:
            return [key, *path]
    return None
