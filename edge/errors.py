"""Turns every error into the one JSON envelope."""

import logging
from typing import Any

import falcon
import peewee
import redis
from playhouse.pool import MaxConnectionsExceeded
from pydantic_core import to_json

from edge import metrics
from edge.request import Request
from edge.schemas.common import ErrorEnvelope, ValidationError
from models.platform.errors import DomainError, Unavailable
from models.platform.limits import QuotaExceeded
from models.platform.redaction import without_secrets

log = logging.getLogger(__name__)
REASON_LENGTH = 200  # characters of a driver's error message in the log
# Falcon's own errors: status -> (code, message); None keeps Falcon's title
FALCON_ERRORS = {
    404: ("not_found", "Not Found"),
    405: ("method_not_allowed", "Method Not Allowed"),
    413: ("body_too_large", None),
}


class Invalid(DomainError):
    """The request does not match its schema. The problems never repeat a value."""

    status, code, message = 422, "validation_error", "Request validation failed."
    is_detail = True

    def __init__(self, problems: list[ValidationError]):
        super().__init__(details=problems)

    @classmethod
    def at(cls, *loc: str | int, msg: str, code: str = "value_error") -> "Invalid":
        """One problem at one place, such as ("header", "Last-Event-ID"). `code` is the machine-readable type."""
        return cls([ValidationError(loc=list(loc), msg=msg, type=code)])


class TooLarge(DomainError):
    status, code, message = 413, "body_too_large", "The request body is too large."


class BodyTooSlow(DomainError):
    status, code, message = 408, "body_too_slow", "The request body did not arrive in time."


class NotJson(DomainError):
    status, code, message = 415, "unsupported_media_type", "Send the body as application/json."


class NotForm(NotJson):
    message = "Send the body as application/x-www-form-urlencoded."


def answer(
    req: Request,
    resp: falcon.Response,
    status: int,
    code: str,
    message: str,
    *,
    detail: Any = None,
    details: Any = None,
) -> None:
    """Write the envelope. What the responder has prepared of its own answer is dropped, other headers stay."""
    _drop_prepared(resp)
    resp.status = falcon.code_to_http_status(status)
    resp.content_type = falcon.MEDIA_JSON
    envelope = ErrorEnvelope(
        error=code,
        message=message,
        detail=message if detail is None else detail,
        details=details,
        correlation_id=req.context.correlation_id,
    )
    resp.data = to_json(envelope)


def _drop_prepared(resp: falcon.Response) -> None:
    """Close the stream, which may hold a slot, and drop the headers that describe it."""
    close = getattr(resp.stream, "close", None)
    resp.stream = None
    if close:
        close()
    for name in ("Content-Length", "Content-Encoding", "ETag", "Last-Modified"):
        resp.delete_header(name)
    resp.set_header("Cache-Control", "no-store")


def render(req: Request, resp: falcon.Response, error: DomainError) -> None:
    """Answer with this error's envelope and headers."""
    detail = error.details if error.is_detail else None
    answer(req, resp, error.status, error.code, error.message, detail=detail, details=error.details)
    resp.set_headers(error.headers)


def note(error: Exception) -> None:
    """Count or log what operators want to know of, whatever the answer looks like."""
    if isinstance(error, QuotaExceeded):
        metrics.LIMITED.labels(error.quota, "user").inc()
    elif isinstance(error, STORE_ERRORS):
        log.warning("edge.store_away", extra={"reason": without_secrets(repr(error))[:REASON_LENGTH]})


def on_domain_error(req: Request, resp: falcon.Response, error: DomainError, params: dict[str, Any]) -> None:
    note(error)
    render(req, resp, error)


def on_http_error(req: Request, resp: falcon.Response, error: falcon.HTTPError, params: dict[str, Any]) -> None:
    """Falcon's own errors: unknown paths, wrong methods, broken requests."""
    code, message = FALCON_ERRORS.get(error.status_code, (f"http_{error.status_code}", None))
    answer(req, resp, error.status_code, code, message or error.title or "Bad request")
    if error.headers:
        resp.set_headers(error.headers)


def on_store_away(req: Request, resp: falcon.Response, error: Exception, params: dict[str, Any]) -> None:
    """Postgres or Redis cannot be reached. Not the request's fault: the client may retry."""
    note(error)
    render(req, resp, CacheAway() if isinstance(error, redis.RedisError) else DatabaseAway())


class CacheAway(Unavailable):
    code = "cache_unavailable"


class DatabaseAway(Unavailable):
    code = "database_unavailable"


def on_crash(req: Request, resp: falcon.Response, error: Exception, params: dict[str, Any]) -> None:
    log.error("edge.crash", exc_info=error)
    text = "An unexpected error occurred. Quote the correlation id when you report it."
    answer(req, resp, 500, "internal_error", text)


STORE_ERRORS = (
    peewee.OperationalError,
    peewee.InterfaceError,
    MaxConnectionsExceeded,
    redis.ConnectionError,
    redis.TimeoutError,
)


def install(app: falcon.App[Any, Any]) -> None:
    """Register the handlers. Falcon prefers the most specific class, so `Exception` takes only what is left."""
    app.add_error_handler(Exception, on_crash)
    app.add_error_handler(STORE_ERRORS, on_store_away)
    app.add_error_handler(falcon.HTTPError, on_http_error)
    app.add_error_handler(DomainError, on_domain_error)
