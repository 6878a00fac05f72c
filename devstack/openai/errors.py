"""Errors in OpenAI's format, with the messages and codes of the real service."""

import json

_SORRY = "The server had an error while processing your request. Sorry about that!"
_DEFAULTS = {  # status -> (type, code, message)
    400: ("invalid_request_error", None, "The request is invalid."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    403: ("invalid_request_error", None, "You are not allowed to do this with this API key."),
    404: ("invalid_request_error", "model_not_found", "The model does not exist or you do not have access to it."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached for requests per min (RPM). Please try again later."),
    500: ("server_error", None, _SORRY),
    503: ("server_error", None, "That model is currently overloaded with other requests. You can retry your request."),
}


class ApiError(Exception):
    """An HTTP error with the body {"error": {"message", "type", "param", "code"}}.

    kind          the error's "type"
    param         path of the wrong parameter, such as "input[0].role"
    retry_after   value of the Retry-After header
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        retry_after: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.kind, self.param, self.code = status, message, kind, param, code
        self.headers = {} if retry_after is None else {"retry-after": retry_after}

    def body(self) -> str:
        """The response body."""
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return json.dumps({"error": error})


def invalid(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """A 400."""
    return ApiError(400, message, param=param, code=code)


def missing(param: str) -> ApiError:
    """A 400 for a required parameter that is missing."""
    return invalid(f"Missing required parameter: '{param}'.", param, "missing_required_parameter")


def wrong_type(param: str, expected: str, value: object) -> ApiError:
    """A 400 for a value of the wrong type. `expected` is a phrase such as "a string"."""
    return invalid(
        f"Invalid type for '{param}': expected {expected}, but got {_kind_of(value)} instead.", param, "invalid_type"
    )


def by_status(status: int, code: str | None = None, retry_after: str | None = None) -> ApiError:
    """The error that the real service returns with this status; `code` replaces its usual code."""
    kind, default_code, message = _DEFAULTS.get(status) or _DEFAULTS[500 if status >= 500 else 400]
    return ApiError(status, message, kind=kind, code=code or default_code, retry_after=retry_after)


def context_overflow() -> ApiError:
    """The 400 for an input that exceeds the context window."""
    return invalid(
        "Your input exceeds the context window of this model. Please adjust your input and try again.",
        "input",
        "context_length_exceeded",
    )


def _kind_of(value: object) -> str:
    kinds = {
        bool: "a boolean",
        int: "an integer",
        float: "a decimal",
        str: "a string",
        list: "an array",
        dict: "an object",
    }
    return kinds.get(type(value), "null")
