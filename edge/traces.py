"""A span for every request, which continues the trace that the caller names. Used only if traces are on."""

import falcon

from edge.metrics import METHODS
from edge.middleware import PROBES
from edge.request import Request
from models.platform import tracing
from models.platform.settings import settings


class Traces:
    """Middleware. It has to be the first, so that all others work inside the span.

    By the conventions for HTTP, without what may hold an id or a secret: path, query, headers, addresses. The span of a
    stream ends with its head; what the run does is in the spans of its job.
    """

    def process_request(self, req: Request, resp: falcon.Response) -> None:
        if req.path in PROBES:
            return
        sent = req.get_header("traceparent") if settings.trace_context_from_clients else None
        method = req.method if req.method in METHODS else "_OTHER"
        attributes = {"http.request.method": method, "url.scheme": req.scheme}
        req.context.span = tracing.span(_name(method), "server", within=sent or "", attributes=attributes)
        resp.set_header("traceresponse", tracing.current() or "")

    def process_response(self, req: Request, resp: falcon.Response, resource: object, req_succeeded: bool) -> None:
        if not hasattr(req.context, "span"):
            return
        span = req.context.span
        route, status = req.uri_template, resp.status_code
        span.set({"http.route": route, "http.response.status_code": status})
        if route:
            span.rename(f"{_name(req.method)} {route}")
        if status >= 500:
            span.fail(str(status))
        span.end()


def _name(method: str) -> str:
    return method if method in METHODS else "HTTP"
