"""Requests to a provider through the `openai` SDK, and the server-sent events of its answers."""

import logging
import random
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any

import httpx2
import openai
import orjson

from models.platform import tracing
from models.platform.redaction import without_secrets
from workers.agents.providers.connections import Connections
from workers.agents.providers.errors import CODES, ProviderError, from_object
from workers.agents.providers.models_file import DEFAULT, Provider

MAX_RETRY_AFTER = 5.0  # seconds; a provider that wants a longer pause is not asked again
OPENAI = "https://api.openai.com/v1"
OPTIONAL = "optional"  # our mark of a hosted tool that an agent can do without; no provider sees it
DONE: dict[str, Any] = {}  # stands for `data: [DONE]`
log = logging.getLogger(__name__)
Event = dict[str, Any]
Wait = Callable[[], AbstractContextManager[None, None]]


@lru_cache(maxsize=64)
def client(provider: Provider) -> openai.OpenAI:
    timeout = httpx2.Timeout(connect=provider.connect_seconds, read=provider.read_seconds, write=10, pool=30)
    # The SDK follows redirects, with all headers but Authorization: a provider could send our keys and texts elsewhere.
    transport = Connections(httpx2.create_ssl_context())
    http = openai.DefaultHttpxClient(timeout=timeout, transport=transport, follow_redirects=False)
    made = openai.OpenAI(
        api_key=provider.key() or "not-set",
        base_url=provider.base_url or OPENAI,
        default_headers=provider.sent_headers(),
        max_retries=0,
        http_client=http,
    )
    if provider.name != DEFAULT:
        made.organization = made.project = None  # of OPENAI_ORG_ID and OPENAI_PROJECT_ID, which others must not see
    return made


def stream(provider: Provider, path: str, body: dict[str, Any], wait: Wait) -> Generator[Event, None, None]:
    """Post a request, as this provider wants it, and yield the events of its answer. ProviderError.

    Closing the generator closes the connection.
    `wait()` is entered for each wait for the provider. Events that arrived together are yielded without a wait between.
    """
    body = {name: value for name, value in {**body, **provider.extra}.items() if name not in provider.omit}
    response = _open(provider, path, body, wait)
    try:
        if "json" in response.headers.get("content-type", ""):  # the server does not stream
            yield orjson.loads(b"".join(_read(response, wait)))
        else:
            yield from _decode(_read(response, wait))
    except orjson.JSONDecodeError:
        raise ProviderError("provider_failed") from None
    finally:
        response.close()


def post(provider: Provider, path: str, body: dict[str, Any], **options: Any) -> httpx2.Response:
    """Post a request once. The raw response: the SDK's typed objects cost more than the rest of a chat. ProviderError."""
    try:
        response: httpx2.Response = client(provider).post(path, body=body, cast_to=httpx2.Response, **options)
        return response
    except (openai.OpenAIError, httpx2.HTTPError) as error:
        raise _translate(error) from error


def is_there(provider: Provider, seconds: float) -> None:
    """Ask for the list of models, which costs nothing; a server that answers but has none is there too. ProviderError."""
    try:
        client(provider).get("/models", cast_to=httpx2.Response, options={"timeout": seconds})
    except (openai.OpenAIError, httpx2.HTTPError) as error:
        if not isinstance(error, openai.APIStatusError) or error.status_code not in (404, 405, 501):
            raise _translate(error) from error


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


def _decode(chunks: Iterable[bytes]) -> Generator[Event, None, None]:
    """The JSON of server-sent events whose data is a single line, as the API's always is.

    Measured per event, JSON included: this 1.4 us, httpx-sse 2.9, the SDK's decoder 6.1.
    """
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                data = line[5:].strip()
                yield DONE if data == b"[DONE]" else orjson.loads(data)


def _open(provider: Provider, path: str, body: dict[str, Any], wait: Wait) -> httpx2.Response:
    where, attempt = {"provider": provider.name, "model": body.get("model")}, 0
    headers = tracing.headers() if provider.send_trace else {}
    while True:
        attempt += 1
        try:
            with wait():
                return post(provider, path, body, stream=True, options={"headers": headers})
        except ProviderError as error:
            # For operators: clients are not shown what the provider says.
            log.warning(
                "model.request_failed",
                extra={**where, "code": error.code, "reason": without_secrets(str(error.__cause__))[:500]},
            )
            pause = error.retry_after or 0.25 * 2**attempt
            if not error.is_retryable or attempt == provider.attempts or (error.retry_after or 0) > MAX_RETRY_AFTER:
                raise
        with wait():
            time.sleep(pause * random.uniform(1, 1.5))  # noqa: S311  (not a secret)


def _translate(error: Exception) -> ProviderError:
    is_connecting = isinstance(error.__cause__ or error, httpx2.ConnectTimeout | httpx2.PoolTimeout)
    if isinstance(error, openai.APITimeoutError | httpx2.TimeoutException) and not is_connecting:
        return ProviderError("provider_timeout")
    if isinstance(error, openai.RateLimitError):
        is_retryable = error.code != "insufficient_quota"
        return ProviderError("provider_rate_limited", is_retryable=is_retryable, retry_after=_retry_after(error))
    if isinstance(error, openai.APIStatusError) and error.status_code < 500:
        return from_object(error.body, CODES.get(error.status_code, "provider_bad_request"))
    return ProviderError("provider_unavailable", is_retryable=True)


def _retry_after(error: openai.RateLimitError) -> float | None:
    seconds = error.response.headers.get("retry-after", "")
    return float(seconds) if seconds.replace(".", "", 1).isdigit() else None
