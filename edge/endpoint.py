"""`@endpoint` declares an operation once: who may call it, what it reads and what it answers.

The schemas come from the annotations: a parameter `body` or `query` is parsed and validated before the responder runs,
and the schema that it returns is written as JSON.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

import falcon
from pydantic import BaseModel
from pydantic_core import to_json

from edge import validation
from edge.auth import admit_by_one, optional_caller, wants_all
from edge.request import Request
from models.platform.authorization import Action, actions

METHODS = ("get", "post", "put", "patch", "delete")
# What an operation answers: a schema, [schema] for a list of it, a plain JSON schema, or nothing.
Answer: TypeAlias = type[BaseModel] | list[type[BaseModel]] | Mapping[str, Any] | None
Responder: TypeAlias = Callable[..., Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A responder's declaration. Without a `summary` it is undocumented."""

    action: Action
    everywhere: Action | None = None
    before: Action | None = None
    optional: bool = False
    summary: str = ""
    description: str = ""
    tag: str = ""
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    answers: dict[int, Answer] = field(default_factory=dict)
    tenant: bool = False
    headers: tuple[str, ...] = ()
    required_headers: tuple[str, ...] = ()
    answer_headers: tuple[str, ...] = ()
    streams: bool = False
    media: str = falcon.MEDIA_JSON


_operations: dict[Responder, Operation] = {}


def endpoint(
    summary: str,
    tag: str,
    *,
    action: Action,
    everywhere: Action | None = None,
    before: Action | None = None,
    optional: bool = False,
    status: int = 200,
    schema: Answer = None,
    streams: type[BaseModel] | None = None,
    also: Mapping[int, type[BaseModel]] | None = None,
    tenant: bool = False,
    headers: tuple[str, ...] = (),
    required_headers: tuple[str, ...] = (),
    answer_headers: tuple[str, ...] = (),
    media: str = falcon.MEDIA_JSON,
) -> Callable[[Responder], Responder]:
    """Declare an operation of the API. The responder's docstring is its description in the API's document.

    action            what it does: a line of models.platform.authorization, which says who may
    everywhere        the action that it is instead with the query parameter `all=true`: that of operators, in all tenants
    before            an action by which a caller is admitted who may do it; else it is `action`
    optional          whether anybody may call it, but a token that is sent must be valid; see `Context.caller`
    status            of a successful answer
    schema            of an answer that is a plain dict, or that the responder writes itself
    streams           the schema of each server-sent event
    also              further statuses with their schemas
    tenant            whether the X-Tenant headers are read
    headers           optional headers that the responder reads
    required_headers  headers that it needs
    answer_headers    headers that a successful answer may have
    media             the type of a successful answer that the responder writes itself
    """

    def declare(function: Responder) -> Responder:
        signature = inspect.signature(function)
        answer = streams or _answer(signature.return_annotation, schema)
        operation = Operation(
            action=action,
            everywhere=everywhere,
            before=before,
            optional=optional,
            summary=summary,
            description=inspect.getdoc(function) or "",
            tag=tag,
            body=_schema_of(signature, "body"),
            query=_schema_of(signature, "query"),
            answers={status: answer, **(also or {})},
            tenant=tenant,
            headers=headers,
            required_headers=required_headers,
            answer_headers=answer_headers,
            streams=streams is not None,
            media=media,
        )
        return _register(function, operation, falcon.code_to_http_status(status))

    return declare


def undocumented(*, action: Action) -> Callable[[Responder], Responder]:
    """Declare a responder that writes its answer itself and is not in the API's document."""
    return lambda function: _register(function, Operation(action=action), falcon.HTTP_200)


def _register(function: Responder, operation: Operation, status: str) -> Responder:
    body, query = operation.body, operation.query

    @functools.wraps(function)
    def responder(resource: object, req: Request, resp: falcon.Response, **params: Any) -> None:
        if not operation.action.public:
            admit_by_one(req, *_asked(req, operation))
        elif operation.optional:
            req.context.caller = optional_caller(req)
        if body is not None:
            params["body"] = validation.body(req, body)
        if query is not None:
            params["query"] = validation.query(req, query)
        resp.status = status
        answer = function(resource, req, resp, **params)
        if answer is not None:
            resp.data, resp.content_type = to_json(answer), falcon.MEDIA_JSON

    _operations[responder] = operation
    return responder


def _asked(req: Request, operation: Operation) -> list[Action]:
    if operation.everywhere and wants_all(req):
        return [operation.everywhere]
    return [operation.before, operation.action] if operation.before else [operation.action]


def _schema_of(signature: inspect.Signature, name: str) -> type[BaseModel] | None:
    parameter = signature.parameters.get(name)
    return parameter.annotation if parameter else None


def _answer(annotation: Any, schema: Answer) -> Answer:
    if schema is not None or annotation is None:
        return schema
    item = getattr(annotation, "__args__", None)  # list[Schema]
    return list(item) if item else annotation


@dataclass(frozen=True)
class Route:
    """A line of the route table. `suffix` selects the resource's responders: `on_get`, or `on_get_<suffix>`."""

    path: str
    resource: object
    suffix: str | None = None

    @cached_property
    def operations(self) -> dict[str, Operation]:
        """The operations by method in lower case. RuntimeError if a responder declares no action of the table."""
        operations: dict[str, Operation] = {}
        for method in METHODS:
            responder = getattr(self.resource, self._name(method), None)
            if responder is None:
                continue
            operation = _operations.get(getattr(responder, "__func__", responder))
            if operation is None:
                raise RuntimeError(f"{method.upper()} {self.path} has neither @endpoint nor @undocumented")
            if actions().get(operation.action.name) is not operation.action:
                raise RuntimeError(f"{method.upper()} {self.path} has an unknown action, {operation.action.name}")
            operations[method] = operation
        return operations

    def add_to(self, app: falcon.App[Any, Any]) -> None:
        """Mount the resource. HEAD is GET without the body. A stream has no HEAD: it would hold a slot that nobody reads."""
        get = self.operations.get("get")
        if get is not None and not get.streams:
            setattr(self.resource, self._name("head"), getattr(self.resource, self._name("get")))
        app.add_route(self.path, self.resource, suffix=self.suffix)

    def _name(self, method: str) -> str:
        return f"on_{method}_{self.suffix}" if self.suffix else f"on_{method}"
