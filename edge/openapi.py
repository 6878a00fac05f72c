"""/openapi.json (OpenAPI 3.1), written from the routes and from the schemas that validate."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import falcon
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from edge.schemas.common import ErrorEnvelope, HTTPValidationError
from models.platform.settings import settings

REF = "#/components/schemas/{model}"
NULLABLE = {"anyOf": [{"type": "string"}, {"type": "null"}]}
STREAM = "text/event-stream"
PARAMETER = re.compile(r"{(\w+)(?::(\w+))?}")


@dataclass(frozen=True)
class Operation:
    summary: str
    tag: str
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    answers: dict[int, Any] = field(default_factory=dict)
    tenant: bool = False
    headers: tuple[str, ...] = ()
    required_headers: tuple[str, ...] = ()
    streams: bool = False


def describes(summary: str, tag: str, **more: Any) -> Callable:
    """Attach an operation's description to its responder. `answers`: {status: model, [model], a raw schema or None}."""

    def attach(responder: Callable) -> Callable:
        responder.operation = Operation(summary, tag, **more)
        return responder

    return attach


def document(routes: list[tuple[str, object, str | None]]) -> dict[str, Any]:
    found = list(_operations(routes))
    models, enums = {ErrorEnvelope, HTTPValidationError}, {}
    for _, _, responder in found:
        operation = responder.operation
        models |= {model for model in (operation.body, *map(_model, operation.answers.values())) if model}
        if operation.query:
            enums |= operation.query.model_json_schema(ref_template=REF).get("$defs", {})
    _, schemas = models_json_schema(
        [(model, "validation") for model in sorted(models, key=lambda m: m.__name__)], ref_template=REF
    )
    paths: dict[str, Any] = {}
    for path, method, responder in found:
        paths.setdefault(PARAMETER.sub(r"{\1}", path), {})[method] = _operation(path, responder)
    return {
        "openapi": "3.1.0",
        "info": {"title": settings.app_name, "version": settings.app_version, "description": settings.app_description},
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
            "schemas": {**enums, **schemas["$defs"]},
        },
    }


def _operations(routes):
    for path, resource, suffix in routes:
        for method in ("get", "post", "put", "patch", "delete"):
            name = f"on_{method}_{suffix}" if suffix else f"on_{method}"
            responder = getattr(resource, name, None)
            if responder is not None and hasattr(responder, "operation"):
                yield path, method, responder


def _operation(path: str, responder) -> dict[str, Any]:
    described = responder.operation
    parameters = list(_parameters(path, described))
    result: dict[str, Any] = {"summary": described.summary, "tags": [described.tag]}
    if responder.guard is not None:
        result["security"] = [{"bearer": []}]
        if scope := responder.guard["scope"]:
            result["description"] = f"Needs the scope `{scope}`."
    if parameters:
        result["parameters"] = parameters
    if described.body:
        result["requestBody"] = {"required": True, "content": {"application/json": {"schema": _schema(described.body)}}}
    result["responses"] = {str(code): _answer(model, described.streams) for code, model in described.answers.items()}
    if described.body or parameters:
        result["responses"]["422"] = {
            "description": "The request does not fit its schema.",
            "content": {"application/json": {"schema": _schema(HTTPValidationError)}},
        }
    result["responses"]["default"] = {
        "description": "Any other error.",
        "content": {"application/json": {"schema": _schema(ErrorEnvelope)}},
    }
    return result


def _parameters(path: str, described: Operation):
    for name, kind in PARAMETER.findall(path):
        schema = {"type": "string", "format": kind} if kind else {"type": "string"}
        yield {"name": name, "in": "path", "required": True, "schema": schema}
    if described.query:
        for name, schema in described.query.model_json_schema(ref_template=REF)["properties"].items():
            wanted = {
                key: value
                for key, value in schema.items()
                if key != "title" and not (key == "default" and value is None)
            }
            yield {"name": name, "in": "query", "required": False, "schema": wanted}
    for name in (("X-Tenant-Id", "X-Tenant-Role") if described.tenant else ()) + described.headers:
        yield {"name": name, "in": "header", "required": False, "schema": NULLABLE}
    for name in described.required_headers:
        yield {"name": name, "in": "header", "required": True, "schema": {"type": "string"}}


def _answer(model: Any, streams: bool) -> dict[str, Any]:
    if model is None:
        return {"description": "Done; no content."}
    content = {"application/json": {"schema": _schema(model)}}
    if streams:
        content[STREAM] = {"schema": _schema(model)}
    return {"description": "Success.", "content": content}


def _model(answer: Any) -> type[BaseModel] | None:
    return answer[0] if isinstance(answer, list) else answer if isinstance(answer, type) else None


def _schema(answer: Any) -> dict[str, Any]:
    if isinstance(answer, list):
        return {"type": "array", "items": _schema(answer[0])}
    if isinstance(answer, dict):
        return answer
    return {"$ref": REF.format(model=answer.__name__)}


class OpenApi:
    def __init__(self) -> None:
        self.text = b""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.data, resp.content_type = self.text, "application/json"
        resp.set_header("Cache-Control", "public, max-age=60")

    on_get.guard = None
