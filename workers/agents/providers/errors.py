"""Why a model gave no answer."""

from typing import Any

MESSAGES = {
    "container_expired": "The container in which the agent runs code is gone.",
    "container_missing": "The agent needs a container in which it runs code, and has none.",
    "context_length_exceeded": "The conversation is too long for the model.",
    "max_turns_exceeded": "The agent needed more turns than it may take.",
    "model_not_found": "The model provider does not have the model.",
    "no_output": "The model gave no answer.",
    "provider_authentication": "The model provider refused our credentials.",
    "provider_bad_request": "The model provider refused the request.",
    "provider_failed": "The model failed to answer.",
    "provider_incomplete": "The model stopped before its answer was complete.",
    "provider_rate_limited": "The model provider is limiting our requests. Try again later.",
    "provider_timeout": "The model did not answer in time.",
    "provider_unavailable": "The model provider is not reachable, or broke the connection.",
    "tools_unavailable": "The agent needs tools that its model provider does not have.",
}
# What another provider may cure: the fault is in this provider, and not in the request.
CURABLE = frozenset(
    {
        "model_not_found",
        "provider_authentication",
        "provider_rate_limited",
        "provider_timeout",
        "provider_unavailable",
        "tools_unavailable",
    }
)
# Codes of error objects, and the HTTP statuses that some servers put in their place.
CODES: dict[Any, str] = {
    "context_length_exceeded": "context_length_exceeded",
    "insufficient_quota": "provider_rate_limited",
    "invalid_api_key": "provider_authentication",
    "model_not_found": "model_not_found",
    "rate_limit_exceeded": "provider_rate_limited",
    401: "provider_authentication",
    403: "provider_authentication",
    404: "model_not_found",
    408: "provider_timeout",
    429: "provider_rate_limited",
}
TOO_LONG = ("context length", "context size", "context window", "context_length")  # in the text of compatible servers


class ProviderError(Exception):
    """Why the model gave no answer: a stable code, and a message without any of the provider's own text.

    `is_retryable`: the same provider may answer the next time. `is_curable`: another provider may answer.
    `retry_after`: seconds that the provider asked us to wait. `usage`: what the run had used by then.
    """

    def __init__(
        self,
        code: str,
        message: str | None = None,
        *,
        is_retryable: bool = False,
        is_curable: bool | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message or MESSAGES[code])
        self.code, self.is_retryable, self.retry_after = code, is_retryable, retry_after
        self.is_curable = code in CURABLE if is_curable is None else is_curable
        self.usage: dict[str, int] | None = None


def from_object(error: Any, otherwise: str = "provider_failed") -> ProviderError:
    """The error for an error object in a body or an event; `otherwise` is our code for any that we do not know."""
    if not isinstance(error, dict):
        error = {"message": error}
    code, text = error.get("code"), str(error.get("message") or "").lower()
    if any(words in text for words in TOO_LONG):
        return ProviderError("context_length_exceeded")
    if "container" in text and any(words in text for words in ("expired", "not found")):
        return ProviderError("container_expired")
    if isinstance(code, str) and code.isdigit():
        code = int(code)
    if isinstance(code, int) and code >= 500:
        return ProviderError("provider_unavailable")
    known = CODES.get(code) if isinstance(code, str | int) else None
    return ProviderError(known or otherwise, is_curable=True if code == "server_error" else None)
