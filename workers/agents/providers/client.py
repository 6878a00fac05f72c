"""The model provider, through the `openai` SDK. The only module that imports it."""

import random
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import httpx2
import openai
import orjson

from models.platform.settings import settings
from workers.agents.connections import Connections

MAX_ATTEMPTS = 3  # until the first event; once a client has read a part of an answer, a second one would contradict it
MAX_RETRY_AFTER = 5.0  # seconds; a provider that wants a longer pause is not asked again
MESSAGES = {
    "context_length_exceeded": "The conversation is too long for the model.",
    "max_turns_exceeded": "The agent needed more turns than it may take.",
    "no_output": "The model gave no answer.",
    "provider_authentication": "The model provider refused our credentials.",
    "provider_bad_request": "The model provider refused the request.",
    "provider_failed": "The model failed to answer.",
    "provider_incomplete": "The model stopped before its answer was complete.",
    "provider_rate_limited": "The model provider is limiting our requests. Try again later.",
    "provider_timeout": "The model did not answer in time.",
    "provider_unavailable": "The model provider is not reachable, or broke the connection.",
}


class ProviderError(Exception):
    """Why the model gave no answer: a stable code, and a message without any of the provider's own text.

    `retry_after`: seconds that the provider asked us to wait. `usage`: what the run had used by then.
    """

    def __init__(
        self, code: str, message: str | None = None, *, is_retryable: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(message or MESSAGES[code])
        self.code, self.is_retryable, self.retry_after = code, is_retryable, retry_after
        self.usage: dict[str, int] | None = None


@cache
def client() -> openai.OpenAI:
    seconds = settings.openai_timeout_seconds
    http = openai.DefaultHttpxClient(
        timeout=httpx2.Timeout(connect=5, read=seconds, write=10, pool=30),
        transport=Connections(httpx2.create_ssl_context()),
    )
    key = settings.openai_api_key.get_secret_value() if settings.openai_api_key else "not-set"
    return openai.OpenAI(api_key=key, base_url=settings.openai_base_url, max_retries=0, http_client=http)


Wait = Callable[[], AbstractContextManager[None, None]]


def stream(request: dict[str, Any], wait: Wait) -> Generator[dict[str, Any], None, None]:
    """Send a request and yield the events of the response. ProviderError. Closing the generator closes the connection.

    `wait()` is entered for each wait for the provider. Events that arrived together are yielded without a wait between.
    """
    response = _open(request, wait)
    try:
        yield from _decode(_read(response, wait))
    finally:
        response.close()


def _read(response: httpx2.Response, wait: Wait) -> Generator[bytes, None, None]:
    chunks = response.iter_bytes()
    while True:
        try:
            with wait():
                chunk = next(chunks, None)
        except (httpx2.HTTPError, openai.APIError) as error:
            raise _translate(error) from None
        if chunk is None:
            return
        yield chunk


def _decode(chunks: Iterable[bytes]) -> Generator[dict[str, Any], None, None]:
    """The JSON of server-sent events whose data is a single line, as the API's always is.

    Measured per event, JSON included: this 1.4 us, httpx-sse 2.9, the SDK's decoder 6.1.
    """
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(b"data:") and (data := line[5:].strip()) != b"[DONE]":
                yield orjson.loads(data)


def _open(request: dict[str, Any], wait: Wait) -> httpx2.Response:
    attempt = 0
    while True:
        attempt += 1
        try:
            return _post(request, wait)
        except ProviderError as error:
            pause = error.retry_after or 0.25 * 2**attempt
            if not error.is_retryable or attempt == MAX_ATTEMPTS or (error.retry_after or 0) > MAX_RETRY_AFTER:
                raise
        with wait():
            time.sleep(pause * random.uniform(1, 1.5))  # noqa: S311  (not a secret)


def _post(request: dict[str, Any], wait: Wait) -> httpx2.Response:
    try:
        with wait():
            # The raw response: the SDK's typed objects for requests and events cost more than the rest of a chat.
            body = {**request, "stream": True}
            return client().post("/responses", body=body, cast_to=httpx2.Response, stream=True)
    except (openai.OpenAIError, httpx2.HTTPError) as error:
        raise _translate(error) from None


def _translate(error: Exception) -> ProviderError:
    is_connecting = isinstance(error.__cause__ or error, httpx2.ConnectTimeout | httpx2.PoolTimeout)
    if isinstance(error, openai.APITimeoutError | httpx2.TimeoutException) and not is_connecting:
        return ProviderError("provider_timeout")
    if isinstance(error, openai.RateLimitError):
        is_retryable = error.code != "insufficient_quota"
        return ProviderError("provider_rate_limited", is_retryable=is_retryable, retry_after=_retry_after(error))
    if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
        return ProviderError("provider_authentication")
    if isinstance(error, openai.APIStatusError) and error.status_code < 500:
        return from_code(error.code, "provider_bad_request")
    return ProviderError("provider_unavailable", is_retryable=True)


def _retry_after(error: openai.RateLimitError) -> float | None:
    seconds = error.response.headers.get("retry-after", "")
    return float(seconds) if seconds.replace(".", "", 1).isdigit() else None


def from_code(code: str | None, otherwise: str) -> ProviderError:
    """The error for a code in a response or an error event; `otherwise` is our own code for any that we do not know."""
    if code == "context_length_exceeded":
        return ProviderError("context_length_exceeded")
    if code == "rate_limit_exceeded":
        return ProviderError("provider_rate_limited")
    return ProviderError(otherwise)
