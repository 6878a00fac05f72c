"""Every error becomes the one JSON envelope, here."""

import logging
from typing import Any

import falcon
import peewee
import redis
from playhouse.pool import MaxConnectionsExceeded

from edge import metrics
from models.platform.errors import DomainError, Unavailable
from models.platform.limits import QuotaExceeded

log = logging.getLogger(__name__)


class Invalid(DomainError):
    """The request does not fit its schema. `problems` is a list of {loc, msg, type}; values are never echoed."""

    status, code, message = 422, "validation_error", "Request validation failed."

    def __init__(self, problems: list[dict[str, Any]]):
        super().__init__(details=problems)


class TooLarge(DomainError):
    status, code, message = 413, "body_too_large", "The request body is too large."


class NotJson(DomainError):
    status, code, message = 415, "unsupported_media_type", "Send the body as application/json."


def envelope(
    code: str, message: str, correlation_id: str, *, detail: Any = None, details: Any = None
) -> dict[str, Any]:
    return {
        "success": False,
        "error": code,
        "message": message,
        "detail": message if detail is None else detail,
        "details": details,
        "correlation_id": correlation_id,
    }


def render(resp: falcon.Response, req: falcon.Request, error: DomainError) -> None:
    detail = error.details if isinstance(error, Invalid) else None
    resp.status = falcon.code_to_http_status(error.status)
    resp.media = envelope(error.code, error.message, req.context.correlation_id, detail=detail, details=error.details)
    for name, value in error.headers.items():
        resp.set_header(name, value)


def on_domain_error(req, resp, error, params):
    if isinstance(error, QuotaExceeded):
        metrics.LIMITED.labels(error.quota, "user").inc()
    render(resp, req, error)


def on_http_error(req, resp, error: falcon.HTTPError, params):
    """Falcon's own errors: unknown paths, wrong methods, broken requests."""
    code = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}.get(error.status_code)
    message = {404: "Not Found", 405: "Method Not Allowed"}.get(error.status_code, error.title or "Bad request")
    resp.status = error.status
    resp.media = envelope(code or f"http_{error.status_code}", message, req.context.correlation_id)
    for name, value in (error.headers or {}).items() if isinstance(error.headers, dict) else error.headers or ():
        resp.set_header(name, value)


def on_store_away(req, resp, error, params):
    """Postgres or Redis cannot be reached: a pause, not a failure of the request's making."""
    log.warning("edge.store_away", extra={"reason": repr(error)[:200]})
    part = "cache" if isinstance(error, redis.RedisError) else "database"
    away = Unavailable()
    away.code = f"{part}_unavailable"
    render(resp, req, away)


def on_crash(req, resp, error, params):
    log.exception("edge.crash", exc_info=error)
    resp.status = falcon.HTTP_500
    resp.media = envelope(
        "internal_error",
        "An unexpected error occurred. Quote the correlation id when you report it.",
        req.context.correlation_id,
    )


def install(app: falcon.App) -> None:
    app.add_error_handler(Exception, on_crash)
    app.add_error_handler(
        (
            peewee.OperationalError,
            peewee.InterfaceError,
            MaxConnectionsExceeded,
            redis.ConnectionError,
            redis.TimeoutError,
        ),
        on_store_away,
    )
    app.add_error_handler(falcon.HTTPError, on_http_error)
    app.add_error_handler(DomainError, on_domain_error)
