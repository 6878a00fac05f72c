"""The model provider, through the `openai` SDK: the only place that imports it."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import httpx2
import openai
import orjson

from models.platform.settings import settings
from workers.agents.connections import Connections

ATTEMPTS = 3  # calls until the first event; after that a repetition would contradict what was read
LONGEST_WAIT = 5.0  # seconds that we sit out a Retry-After


class ProviderError(Exception):
    """Why the model gave no answer: a stable code, and a sentence that holds nothing of the provider's own text."""

    def __init__(self, code: str, message: str, *, again: bool = False, retry_after: float | None = None):
        super().__init__(message)
        self.code, self.again, self.retry_after = code, again, retry_after
        self.usage: dict[str, int] | None = None  # what the run had used by then


@cache
def client() -> openai.OpenAI:
    seconds = settings.openai_timeout_seconds
    http = openai.DefaultHttpxClient(
        timeout=httpx2.Timeout(connect=5, read=seconds, write=10, pool=30),
        transport=Connections(httpx2.create_ssl_context()),
    )
    key = settings.openai_api_key.get_secret_value() if settings.openai_api_key else "not-set"
    return openai.OpenAI(api_key=key, base_url=settings.openai_base_url, max_retries=0, http_client=http)


def stream(request: dict[str, Any], waiting: Callable[[], AbstractContextManager]) -> Iterator[dict[str, Any]]:
    """The provider's events as plain dicts. Closing the iterator closes the connection.

    `waiting()` surrounds every wait for the provider.
    """
    response = _open(request, waiting)
    try:
        parts, rest = response.iter_bytes(), b""
        while True:
            try:
                with waiting():
                    part = next(parts, None)
            except (httpx2.HTTPError, openai.APIError) as error:
                raise _translate(error) from None
            if part is None:
                return
            # What came in one piece is passed on without a wait between, so that it also travels on together.
            *lines, rest = (rest + part).split(b"\n")
            for line in lines:
                if line.startswith(b"data:") and (data := line[5:].strip()) != b"[DONE]":
                    yield orjson.loads(data)
    finally:
        response.close()


def _open(request: dict[str, Any], waiting):
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with waiting():
                # The SDK's plain `post`, and its raw response: turning our dicts into its objects and back, for the
                # request and for every delta, costs more than all the rest of a chat.
                body = {**request, "stream": True}
                return client().post("/responses", body=body, cast_to=httpx2.Response, stream=True)
        except (openai.OpenAIError, httpx2.HTTPError) as error:
            known = _translate(error)
            if not known.again or attempt == ATTEMPTS or (known.retry_after or 0) > LONGEST_WAIT:
                raise known from None
            with waiting():
                time.sleep((known.retry_after or 0.25 * 2**attempt) * random.uniform(1, 1.5))
    raise AssertionError("unreachable")


def _translate(error: Exception) -> ProviderError:
    connecting = isinstance(error.__cause__ or error, httpx2.ConnectTimeout | httpx2.PoolTimeout)
    if isinstance(error, openai.APITimeoutError | httpx2.TimeoutException) and not connecting:
        return ProviderError("provider_timeout", "The model did not answer in time.")
    if isinstance(error, openai.RateLimitError):
        wait = error.response.headers.get("retry-after", "")
        seconds = float(wait) if wait.replace(".", "", 1).isdigit() else None
        return ProviderError(
            "provider_rate_limited",
            "The model provider is limiting our requests. Try again later.",
            again=error.code != "insufficient_quota",
            retry_after=seconds,
        )
    if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
        return ProviderError("provider_authentication", "The model provider refused our credentials.")
    if isinstance(error, openai.APIStatusError) and error.status_code < 500:
        return from_code(error.code, "provider_bad_request")
    return ProviderError(
        "provider_unavailable", "The model provider is not reachable, or broke the connection.", again=True
    )


def from_code(code: str | None, otherwise: str) -> ProviderError:
    """The error that a provider names inside a response or an error event."""
    if code == "context_length_exceeded":
        return ProviderError(code, "The conversation is too long for the model.")
    if code == "rate_limit_exceeded":
        return ProviderError("provider_rate_limited", "The model provider is limiting our requests. Try again later.")
    sentences = {
        "provider_bad_request": "The model provider refused the request.",
        "provider_failed": "The model failed to answer.",
        "provider_incomplete": "The model stopped before its answer was complete.",
        "max_turns_exceeded": "The agent needed more turns than it may take.",
        "no_output": "The model gave no answer.",
    }
    return ProviderError(otherwise, sentences[otherwise])
