"""Faults that a test asks for: a call fails, takes its time, or its answer gets lost."""

import json
from dataclasses import dataclass
from typing import Any

import falcon
import gevent

from devstack.openai.errors import by_status

KINDS = ("status", "lost", "delay")


@dataclass
class Fault:
    """What goes wrong with the next `times` calls of an operation, such as "POST /v1/vector_stores".

    status  the call is refused with `status`
    lost    the call does what it should, and its answer is `status`
    delay   the call waits `seconds` first
    """

    kind: str
    status: int = 503
    times: int = 1
    seconds: float = 0.0


class Faults:
    """Middleware, and the endpoint that sets faults."""

    def __init__(self) -> None:
        self.by_operation: dict[str, list[Fault]] = {}

    def process_resource(self, req: falcon.Request, resp: falcon.Response, resource: Any, params: Any) -> None:
        fault = self._next(f"{req.method} {req.uri_template}")
        if fault is None:
            return
        if fault.kind == "delay":
            gevent.sleep(fault.seconds)
        elif fault.kind == "status":
            raise by_status(fault.status)
        else:
            req.context.lost = fault.status

    def process_response(self, req: falcon.Request, resp: falcon.Response, resource: Any, succeeded: bool) -> None:
        if status := getattr(req.context, "lost", None):
            error = by_status(status)
            resp.status, resp.text = error.status, error.body()

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        wish = json.loads(req.stream.read())
        fault = Fault(**{name: value for name, value in wish.items() if name != "operation"})
        if fault.kind not in KINDS:
            raise falcon.HTTPBadRequest
        self.by_operation.setdefault(wish["operation"], []).append(fault)
        resp.media = {}

    def on_delete(self, req: falcon.Request, resp: falcon.Response) -> None:
        self.by_operation.clear()
        resp.media = {}

    def _next(self, operation: str) -> Fault | None:
        waiting = self.by_operation.get(operation)
        if not waiting:
            return None
        fault = waiting[0]
        fault.times -= 1
        if fault.times <= 0:
            waiting.pop(0)
        return fault
