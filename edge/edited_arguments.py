"""Whether a tool may be called with the arguments that a person has edited.

The schema may be that of an MCP server. So no reference is fetched, no regular expression is run, items are not compared
with each other, and the whole check is bounded: here it could stop the whole process. The tool itself checks the arguments,
too.
"""

import json
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import jsonschema
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable

from edge.errors import Invalid

RULE_CHARACTERS, ITEMS_TOLD = 200, 20  # of a rule
WORK = 300_000  # that one check may be, which takes about a second: of each keyword, the sizes of what it looks at, and STEP
STEP = 4
Keyword = Callable[..., Iterator[jsonschema.ValidationError] | None]
_left: ContextVar[list[int]] = ContextVar("left")


class TooMuchWork(Exception):
    pass


def _nothing(*_: Any) -> Iterator[jsonschema.ValidationError]:
    yield from ()


def _additional(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[jsonschema.ValidationError]:
    if "patternProperties" not in schema:
        yield from jsonschema.Draft202012Validator.VALIDATORS["additionalProperties"](
            validator, value, instance, schema
        )


def _bounded(keyword: Keyword) -> Keyword:
    def check(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[jsonschema.ValidationError]:
        left = _left.get()
        left[0] -= STEP + _size(value) + _size(instance)
        if left[0] < 0:
            raise TooMuchWork
        yield from keyword(validator, value, instance, schema) or ()

    return check


def _size(value: Any) -> int:
    return len(value) if isinstance(value, list | dict) else 0


KEYWORDS: dict[str, Keyword] = {
    **jsonschema.Draft202012Validator.VALIDATORS,
    "pattern": _nothing,
    "patternProperties": _nothing,
    "unevaluatedProperties": _nothing,
    "uniqueItems": _nothing,
    "additionalProperties": _additional,
}
Validator = extend(jsonschema.Draft202012Validator, {name: _bounded(keyword) for name, keyword in KEYWORDS.items()})


def require_fit(parameters: dict[str, Any] | None, arguments: dict[str, Any]) -> None:
    """Invalid (422) unless the arguments fit the JSON schema `parameters`; always if there is none."""
    if parameters is None:
        raise Invalid.at("body", "arguments", msg="The arguments of this call cannot be changed.")
    _left.set([WORK])
    try:
        Validator.check_schema(parameters)
        errors = Validator(parameters, registry=Registry()).iter_errors(arguments)
        error = jsonschema.exceptions.best_match(errors)
    except (jsonschema.SchemaError, Unresolvable, RecursionError):
        raise Invalid.at("body", "arguments", msg="The tool does not say what its arguments may be.") from None
    except TooMuchWork:
        raise Invalid.at("body", "arguments", msg="It takes too long to check whether they fit the tool.") from None
    if error is not None:
        path = [str(part) for part in error.absolute_path]
        msg = f"Does not fit the tool's parameters, which say {_rule(error)} here."
        raise Invalid.at("body", "arguments", *path, msg=msg)


def _rule(error: jsonschema.ValidationError) -> str:
    """The keyword that is broken, with its value if that is short: a schema may be megabytes long."""
    keyword, value = error.validator, error.validator_value
    items = value if isinstance(value, list) else [value]
    if len(items) > ITEMS_TOLD or any(isinstance(item, dict | list) for item in items):
        return f'"{keyword}"'
    return f'"{keyword}": {json.dumps(value, ensure_ascii=False)}'[:RULE_CHARACTERS]
