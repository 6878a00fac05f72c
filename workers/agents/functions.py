"""`@tool`: an annotated function as a tool. Its parameters are described to the model, and checked before a call."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, get_type_hints
from uuid import UUID

from pydantic import BaseModel, ConfigDict, PydanticUserError, ValidationError, create_model
from pydantic.json_schema import GenerateJsonSchema

from workers.agents.citations import Source, mark
from workers.agents.declarations import NO_PARAMETERS, Agent, Tool

FAULTS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class ToolsContext:
    """On whose behalf a tool runs. A service account has no `user_id`.

    `idempotency_key`: the same for every attempt of one call. Give it to whatever the tool changes.
    `agent`: the one that calls. `label`: what the marks of this call begin with.
    """

    user_id: UUID | None
    tenant_id: UUID
    idempotency_key: str = ""
    agent: Agent | None = None
    label: str = "0"
    sources: list[Source] = field(default_factory=list)

    def cite(self, *, file_id: str, filename: str, **more: Any) -> str:
        """The mark of something found in a file. Write it before what was found: an answer with the mark cites the file.

        `more`: further fields of the annotation, such as `page`.
        """
        label = f"{self.label}:{len(self.sources) + 1}"
        self.sources.append({"label": label, "file_id": file_id, "filename": filename, **more})
        return mark(label)


class ToolFailed(Exception):
    """The reason is shown to the model."""


def tool(category: str, **options: Any) -> Callable[[Callable[..., str]], Tool]:
    """Make a tool of `function(context, ...) -> str`.

    Its name is that of the function, and its description the docstring. `options`: further fields of a Tool. TypeError if
    the function says too little about itself.
    """

    def declare(function: Callable[..., str]) -> Tool:
        name, description = function.__name__, inspect.getdoc(function)
        if not description:
            raise TypeError(f"{name} needs a docstring: it tells the model what the tool does")
        arguments = _arguments(function)
        parameters = parameters_of(arguments)
        return Tool(name, category, description, parameters, function=function, arguments=arguments, **options)

    return declare


def parameters_of(arguments: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of a model, as a model provider wants it."""
    schema = arguments.model_json_schema(schema_generator=_Schema)
    return {**NO_PARAMETERS, **{name: value for name, value in schema.items() if name not in ("title", "description")}}


class _Schema(GenerateJsonSchema):
    """Without the titles, which repeat the names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _arguments(function: Callable[..., str]) -> type[BaseModel]:
    """A model with one field per parameter after the first, which is the context."""
    name, signature = function.__name__, inspect.signature(function)
    hints = get_type_hints(function, include_extras=True)
    if inspect.iscoroutinefunction(function) or hints.get("return") is not str:
        raise TypeError(f"{name} must be an ordinary function that returns str")
    parameters = list(signature.parameters.values())
    if not parameters or parameters[0].kind not in (parameters[0].POSITIONAL_ONLY, parameters[0].POSITIONAL_OR_KEYWORD):
        raise TypeError(f"the first parameter of {name} must be the context")
    if hints.get(parameters[0].name, ToolsContext) is not ToolsContext:
        raise TypeError(f"the first parameter of {name} must be the context, a ToolsContext")
    fields: dict[str, Any] = {}
    for parameter in parameters[1:]:
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise TypeError(f"{name} cannot have the parameter {parameter}")
        if parameter.name not in hints:
            raise TypeError(f"the parameter {parameter.name} of {name} needs a type")
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = (hints[parameter.name], default)
    try:
        return create_model(name, __config__=ConfigDict(extra="forbid", protected_namespaces=()), **fields)
    except (PydanticUserError, NameError) as error:
        raise TypeError(f"the parameters of {name}: {str(error).splitlines()[0]}") from None


def check_arguments(tool: Tool, values: Any) -> dict[str, Any]:
    """What the tool's function is called with. ToolFailed, with what does not fit, for values that it does not take."""
    if not isinstance(values, dict):
        raise ToolFailed(f"the arguments of {tool.name} are not a JSON object.")
    if tool.arguments is None:  # whoever declared the parameters checks them
        return values
    try:
        checked = tool.arguments.model_validate(values)
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, fault['loc']))[:100]}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)
        ]
        raise ToolFailed(f"these arguments do not fit {tool.name}: {'; '.join(faults[:FAULTS_SHOWN])}.") from None
    return {name: getattr(checked, name) for name in tool.arguments.model_fields}
