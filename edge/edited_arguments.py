"""Whether a tool may be called with the arguments that a person has edited.

The schema may be that of an MCP server. So no reference is fetched, no regular expression is run, and items are not
compared with each other: here that could stop the whole process. The tool itself checks the arguments, too.
"""

from collections.abc import Iterator
from typing import Any

import jsonschema
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable

from edge.errors import Invalid


def _nothing(*_: Any) -> Iterator[jsonschema.ValidationError]:
    yield from ()


def _additional(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[jsonschema.ValidationError]:
    if "patternProperties" not in schema:
        yield from jsonschema.Draft202012Validator.VALIDATORS["additionalProperties"](
            validator, value, instance, schema
        )


Validator = extend(
    jsonschema.Draft202012Validator,
    {
        "pattern": _nothing,
        "patternProperties": _nothing,
        "unevaluatedProperties": _nothing,
        "uniqueItems": _nothing,
        "additionalProperties": _additional,
    },
)


def require_fit(parameters: dict[str, Any] | None, arguments: dict[str, Any]) -> None:
    """Invalid (422) unless the arguments fit the JSON schema `parameters`; always if there is none."""
    if parameters is None:
        raise Invalid.at("body", "arguments", msg="The arguments of this call cannot be changed.")
    try:
        Validator.check_schema(parameters)
        errors = Validator(parameters, registry=Registry()).iter_errors(arguments)
        error = jsonschema.exceptions.best_match(errors)
    except (jsonschema.SchemaError, Unresolvable, RecursionError):
        raise Invalid.at("body", "arguments", msg="The tool does not say what its arguments may be.") from None
    if error is not None:
        path = [str(part) for part in error.absolute_path]
        raise Invalid.at("body", "arguments", *path, msg=f"Does not fit the tool's parameters: {error.validator}.")
