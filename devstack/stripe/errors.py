"""Errors in Stripe's format: {"error": {"type", "code", "message", "param", ...}}."""

from typing import Any

_KEY_ADVICE = "Try using a key other than '{}' if you meant to execute a different request."


class ApiError(Exception):
    """An HTTP error of the API.

    kind      the error's "type"
    more      further fields, such as decline_code or payment_intent
    stored    whether an idempotency key keeps it: not if the request was refused before it was executed
    keeps     whether what the request changed stays, as the failed attempt of a payment does
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        stored: bool = True,
        keeps: bool = False,
        more: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.kind, self.code, self.param = status, message, kind, code, param
        self.stored, self.keeps, self.more = stored, keeps, more or {}

    def body(self) -> dict[str, Any]:
        """The response body."""
        error = {"code": self.code, "message": self.message, "param": self.param, "type": self.kind}
        if self.code:
            error["doc_url"] = f"https://stripe.com/docs/error-codes/{self.code.replace('_', '-')}"
        return {"error": {name: value for name, value in error.items() if value is not None} | self.more}


def invalid(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """A 400 of a request that was executed: what it asks for cannot be done."""
    return ApiError(400, message, param=param, code=code)


def malformed(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """A 400 of a request that was not executed, since a parameter is wrong in itself."""
    return ApiError(400, message, param=param, code=code, stored=False)


def missing(param: str) -> ApiError:
    return malformed(f"Missing required param: {param}.", param, "parameter_missing")


def no_such(what: str, id_: str, param: str | None) -> ApiError:
    """Nothing has this id: a 404 for the object of the path (param "id"), a 400 for one that a parameter names."""
    status = 404 if param in (None, "id") else 400
    return ApiError(status, f"No such {what}: '{id_}'", param=param or "id", code="resource_missing")


def unknown_url(method: str, path: str) -> ApiError:
    message = f"Unrecognized request URL ({method}: {path}). Please see https://stripe.com/docs or we can help at https://support.stripe.com/."
    return ApiError(404, message, stored=False)


def unauthorized(key: str | None) -> ApiError:
    message = (
        f"Invalid API Key provided: {_masked(key)}"
        if key
        else "You did not provide an API key. You need to provide your API key in the Authorization header, using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY')."
    )
    return ApiError(401, message, stored=False)


def _masked(key: str) -> str:
    return key[:8] + "*" * max(len(key) - 12, 0) + key[-4:] if len(key) > 12 else "*" * len(key)


def declined(code: str, decline_code: str | None, message: str, more: dict[str, Any] | None = None) -> ApiError:
    """A card was declined: 402. `code` is "card_declined" or what is wrong with the card."""
    fields = {"decline_code": decline_code} if decline_code else {}
    return ApiError(402, message, kind="card_error", code=code, keeps=bool(more), more=fields | (more or {}))


def other_parameters(key: str) -> ApiError:
    message = "Keys for idempotent requests can only be used with the same parameters they were first used with. "
    return ApiError(400, message + _KEY_ADVICE.format(key), kind="idempotency_error", stored=False)


def other_endpoint(key: str, path: str) -> ApiError:
    message = f"Keys for idempotent requests can only be used for the same endpoint they were first used for ('{path}' was used). "
    return ApiError(400, message + _KEY_ADVICE.format(key), kind="idempotency_error", stored=False)


def key_in_use(key: str) -> ApiError:
    message = f"There is currently another in-progress request using this Idempotent Key (that probably means you submitted twice, and the other request is still going through): {key}. Please try again later."
    return ApiError(409, message, kind="idempotency_error", code="idempotency_key_in_use", stored=False)


def by_status(status: int) -> ApiError:
    """The error that the real service answers with this status when it has trouble of its own."""
    if status == 429:
        message = "Request rate limit exceeded. Learn more about rate limits here https://stripe.com/docs/rate-limits."
        return ApiError(429, message, code="rate_limit", stored=False)
    message = "Sorry! There was an error while talking to one of our backends. Support has been notified."
    return ApiError(status, message, kind="api_error", stored=status == 500)
