"""Base classes of errors that clients see. Each has an HTTP status and a stable code; the edge turns it into JSON."""

from typing import Any


class DomainError(Exception):
    """`details`: more data for the client, as JSON. `headers`: HTTP headers of the response.

    `is_detail`: the envelope's `detail` is these details too, as clients of some errors expect; otherwise the message.
    """

    status = 400
    code = "bad_request"
    message = "The request cannot be fulfilled."
    is_detail = False

    def __init__(self, message: str | None = None, *, details: Any = None, headers: dict[str, str] | None = None):
        super().__init__(message or self.message)
        self.message = message or self.message
        self.details = details
        self.headers = dict(headers or {})


class BadRequest(DomainError):
    pass


class NotAuthenticated(DomainError):
    status, code, message = 401, "not_authenticated", "Not authenticated"

    def __init__(self, message: str | None = None, **more: Any):
        super().__init__(message, **more)
        self.headers.setdefault("WWW-Authenticate", "Bearer")


class Forbidden(DomainError):
    status, code, message = 403, "forbidden", "Insufficient tenant privileges for this operation."


class NotFound(DomainError):
    status, code, message = 404, "not_found", "Not found."


class Conflict(DomainError):
    status, code, message = 409, "conflict", "The request conflicts with the present state."


class Locked(DomainError):
    status, code, message = 423, "account_locked", "Account is locked."


class RateLimited(DomainError):
    status, code, message = 429, "rate_limited", "Too many requests."

    def __init__(self, message: str | None = None, *, retry_after: int = 1, **more: Any):
        super().__init__(message, **more)
        self.headers["Retry-After"] = str(max(1, retry_after))


class Unavailable(DomainError):
    status, code, message = 503, "unavailable", "A part of the service is not reachable. Retry shortly."

    def __init__(self, message: str | None = None, **more: Any):
        super().__init__(message, **more)
        self.headers.setdefault("Retry-After", "1")
