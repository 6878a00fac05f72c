"""/openapi.json (OpenAPI 3.1), generated from the route table and its schemas."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import falcon
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from edge.endpoint import Answer, Operation, Route, undocumented
from edge.request import Request
from edge.schemas.common import ErrorEnvelope, HTTPValidationError
from models.platform.authorization import PUBLIC
from models.platform.settings import Settings

REF = "#/components/schemas/{model}"
NULLABLE = {"anyOf": [{"type": "string"}, {"type": "null"}]}
STREAM = "text/event-stream"
TENANT_HEADERS = ("X-Tenant-Id", "X-Tenant-Role")
OPERATOR_HEADERS = ("X-Operator-Override", "X-Operator-Reason")
# What parameters mean; a query's schema may say more about its own.
MEANINGS = {
    "X-Tenant-Id": "Must be the tenant of the token. Operators name another tenant here.",
    "X-Tenant-Role": "A lower role than that of the token, to act with fewer rights.",
    "X-Operator-Override": "`true`: an operator acts in the tenant of X-Tenant-Id.",
    "X-Operator-Reason": "Why the operator does so; it is written to the audit log.",
    "Idempotency-Key": "A repeated request with the same key gets the run that the first one started.",
    "Last-Event-ID": "The sequence number of the last event that the client has.",
    "If-Match": "The ETag of the answer that the change is based on; without it, the last one wins. Beyond the contract.",
    "conversation_id": "The conversation's id, as the client chose it or as an answer has it.",
    "subscription_id": "The subscription's `id`.",
    "run_id": "The run's id: the header `X-Run-Id` of the answer that started it.",
    "call_id": "The `call_id` of the approval, or its `id`.",
    "workflow_key": "The workflow's `key`.",
    "operation_id": "The operation's id: the header `X-Operation-Id` of the answer that began it.",
    "incident_id": "The `incident_id` of the incident.",
    "cursor": "The `next_cursor` of the answer before.",
    "limit": "How many items the answer has at most.",
    "agent_name": "The agent's `name`.",
}
PARAMETER = re.compile(r"{(\w+)(?::(\w+))?}")
JsonObject = dict[str, Any]


def document(routes: Sequence[Route], settings: Settings) -> JsonObject:
    """The OpenAPI document of these routes."""
    paths: JsonObject = {}
    for path, method, operation in documented(routes):
        paths.setdefault(PARAMETER.sub(r"{\1}", path), {})[method] = _operation(path, operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": settings.app_name, "version": settings.app_version, "description": settings.app_description},
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
            "schemas": _components(operation for _, _, operation in documented(routes)),
        },
    }


def documented(routes: Iterable[Route]) -> Iterator[tuple[str, str, Operation]]:
    """(path, method, operation) of every operation in the document."""
    for route in routes:
        for method, operation in route.operations.items():
            if operation.summary:
                yield route.path, method, operation


def _components(operations: Iterable[Operation]) -> JsonObject:
    models: set[type[BaseModel]] = {ErrorEnvelope, HTTPValidationError}
    enums: JsonObject = {}
    for operation in operations:
        models |= {model for model in (operation.body, *map(_model, operation.answers.values())) if model}
        if operation.query:
            enums |= operation.query.model_json_schema(ref_template=REF).get("$defs", {})
    ordered = sorted(models, key=lambda model: model.__name__)
    _, schemas = models_json_schema([(model, "validation") for model in ordered], ref_template=REF)
    return {**enums, **schemas["$defs"]}


def _operation(path: str, operation: Operation) -> JsonObject:
    parameters = list(_parameters(path, operation))
    result: JsonObject = {"summary": operation.summary, "tags": [operation.tag]}
    texts = [operation.description] if operation.description else []
    if not operation.action.public:
        result["security"] = [{"bearer": []}]
        if operation.action.scope:
            texts.append(f"Needs the scope `{operation.action.scope}`.")
        if operation.before:
            texts.append(f"Operators with the scope `{operation.before.scope}` reach all tenants.")
        if operation.everywhere:
            texts.append(f"With `all=true` it needs `{operation.everywhere.scope}` instead, and reaches all tenants.")
    elif operation.optional:
        result["security"] = [{}, {"bearer": []}]
    if texts:
        result["description"] = "\n\n".join(texts)
    if parameters:
        result["parameters"] = parameters
    if operation.body:
        result["requestBody"] = {"required": True, "content": {"application/json": {"schema": _schema(operation.body)}}}
    result["responses"] = {str(code): _answer(operation, model) for code, model in operation.answers.items()}
    if operation.body or parameters:
        result["responses"]["422"] = _error("The request does not fit its schema.", HTTPValidationError)
    result["responses"]["default"] = _error("Any other error.", ErrorEnvelope)
    return result


def _error(description: str, model: type[BaseModel]) -> JsonObject:
    return {"description": description, "content": {"application/json": {"schema": _schema(model)}}}


def _parameters(path: str, operation: Operation) -> Iterator[JsonObject]:
    for name, kind in PARAMETER.findall(path):
        schema = {"type": "string", "format": kind} if kind else {"type": "string"}
        yield _parameter(name, "path", schema, required=True)
    if operation.query:
        for name, schema in operation.query.model_json_schema(ref_template=REF)["properties"].items():
            yield _parameter(name, "query", _query_schema(schema), text=schema.get("description"))
    for name in (*_tenant_headers(operation), *operation.headers):
        yield _parameter(name, "header", NULLABLE)
    for name in operation.required_headers:
        yield _parameter(name, "header", {"type": "string"}, required=True)


def _parameter(
    name: str, where: str, schema: JsonObject, *, required: bool = False, text: str | None = None
) -> JsonObject:
    parameter = {"name": name, "in": where, "required": required, "schema": schema}
    meaning = text or MEANINGS.get(name)
    return {**parameter, "description": meaning} if meaning else parameter


def _tenant_headers(operation: Operation) -> tuple[str, ...]:
    if not operation.tenant:
        return ()
    return TENANT_HEADERS + (OPERATOR_HEADERS if operation.action.elsewhere else ())


def _query_schema(schema: JsonObject) -> JsonObject:
    """The schema without its title and a null default, which say nothing, and its description, which the parameter has."""
    return {
        key: value
        for key, value in schema.items()
        if key not in ("title", "description") and not (key == "default" and value is None)
    }  # fmt: skip


def _answer(operation: Operation, answer: Answer) -> JsonObject:
    if answer is None:
        return {"description": "Done; no content."}
    content = {operation.media: {"schema": _schema(answer)}}
    if operation.streams:
        content[STREAM] = {"schema": _schema(answer)}
    headers = {name: {"schema": {"type": "string"}} for name in operation.answer_headers}
    return {"description": "Success.", "content": content, **({"headers": headers} if headers else {})}


def _model(answer: Answer) -> type[BaseModel] | None:
    if isinstance(answer, list):
        return answer[0]
    return answer if isinstance(answer, type) else None


def _schema(answer: Answer) -> JsonObject:
    if isinstance(answer, list):
        return {"type": "array", "items": _schema(answer[0])}
    if isinstance(answer, type):
        return {"$ref": REF.format(model=answer.__name__)}
    return dict(answer or {})


class OpenApi:
    def __init__(self, document: JsonObject) -> None:
        self.text = json.dumps(document, ensure_ascii=False).encode()

    @undocumented(action=PUBLIC)
    def on_get(self, req: Request, resp: falcon.Response) -> None:
        resp.data, resp.content_type = self.text, falcon.MEDIA_JSON
        resp.set_header("Cache-Control", "public, max-age=60")
