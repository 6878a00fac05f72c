"""The model provider's files, vector stores and containers, through the `openai` SDK. Blocking calls.

    made = call("vector_stores.create", lambda openai: openai.vector_stores.create(name="primary"))

Errors are ours, so that nothing else needs the SDK's, and they are errors that the edge can answer with.
"""

import time
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

import httpx2

from models.platform import tracing
from models.platform.database import database
from models.platform.errors import DomainError, RateLimited, Unavailable
from models.platform.redaction import without_secrets
from models.platform.settings import settings
from workers import metrics
from workers.gateways.bounded import Bounded

if TYPE_CHECKING:
    from openai import OpenAI, OpenAIError

OPENAI = "https://api.openai.com/v1"
CONNECT_SECONDS = 5
USUAL_SECONDS, UPLOAD_SECONDS = 60, 900  # for a call, with its answer
TEXT_LENGTH = 300  # characters of what the provider says that are shown
LONGEST_WAIT = 60  # seconds that we tell clients to wait
T = TypeVar("T")


class ProviderError(DomainError):
    """`may_heal`: whether the same call may succeed later."""

    status, code, message = 502, "provider_error", "The provider failed."
    may_heal = False


class ProviderUnavailable(ProviderError, Unavailable):
    status, code, message = 503, "provider_unavailable", "The provider is not reachable, or did not answer in time."
    may_heal = True


class ProviderNotConfigured(ProviderError, Unavailable):
    status, code, message = 503, "provider_not_configured", "OPENAI_API_KEY is not configured."
    may_heal = True  # when the key is there


class ProviderAuthentication(ProviderError):
    code, message = "provider_authentication", "The provider refused our credentials."
    may_heal = True


class ProviderRateLimited(ProviderError, RateLimited):
    status, code, message = 429, "provider_rate_limited", "The provider is limiting our requests. Try again later."
    may_heal = True


class ProviderRejected(ProviderError):
    """It will never accept this call. `details`: the parameter that it objects to and its code, if it says so."""

    status, code = 422, "provider_rejected"


class NotThere(ProviderError):
    """What the call is about does not exist at the provider."""

    code, message = "provider_resource_missing", "The provider does not know it any more."


def call(name: str, function: "Callable[[OpenAI], T]", *, seconds: float = USUAL_SECONDS, retries: int = 2) -> T:
    """Call the provider: `function(client)` makes exactly one request. `name`, for metrics, has few values.

    An attempt takes `seconds` at most, its answer included. `retries`: by the SDK, after lost connections, 409, 429 and 5xx:
    none for a call that makes something, unless it can be made twice.
    Raises ProviderError, and RuntimeError in a transaction, which would be held meanwhile.
    """
    if database.in_transaction():
        raise RuntimeError(f"{name}: the provider must not be called in a transaction.")
    started, result = time.perf_counter(), "interrupted"
    with tracing.span(f"openai {name}", "client", attributes={"server.address": _host()}):
        try:
            answer = _asked(function, client(seconds, retries))
            result = "success"
        except ProviderError as error:
            result = error.code
            raise
        finally:
            metrics.openai_called(name, result, time.perf_counter() - started)
    return answer


def _asked(function: "Callable[[OpenAI], T]", asked: "OpenAI") -> T:
    from openai import OpenAIError

    try:
        return function(asked)
    except OpenAIError as error:
        raise _ours(error) from None  # it holds the whole answer
    except httpx2.HTTPError:  # while the answer was read
        raise ProviderUnavailable() from None


def client(seconds: float = USUAL_SECONDS, retries: int = 2) -> "OpenAI":
    """A client of this process. Raises ProviderNotConfigured without a key, unless the server is another one."""
    key = settings.openai_api_key.get_secret_value().strip() if settings.openai_api_key else ""
    if not key and not settings.openai_base_url:
        raise ProviderNotConfigured()
    return _client(key or "not-set", settings.openai_base_url or OPENAI, seconds, retries)


@lru_cache(maxsize=16)
def _client(key: str, base: str, seconds: float, retries: int) -> "OpenAI":
    import openai  # PERF: takes half a second, which only processes pay that call the provider

    timeout = httpx2.Timeout(connect=min(CONNECT_SECONDS, seconds), read=seconds, write=seconds, pool=seconds)
    # The SDK would follow redirects, with the texts of tenants.
    http = openai.DefaultHttpxClient(timeout=timeout, transport=Bounded(seconds), follow_redirects=False)
    return openai.OpenAI(api_key=key, base_url=base, max_retries=retries, http_client=http)


def _host() -> str:
    return urlsplit(settings.openai_base_url or OPENAI).hostname or ""


def _ours(error: "OpenAIError") -> ProviderError:
    """Our error for one of the SDK's. Texts that could name our account are not taken over."""
    import openai

    if isinstance(error, openai.APIConnectionError) or not isinstance(error, openai.APIStatusError):
        return ProviderUnavailable()
    if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
        return ProviderAuthentication()
    if isinstance(error, openai.NotFoundError):
        return NotThere()
    if isinstance(error, openai.RateLimitError):
        wait = error.response.headers.get("retry-after", "")
        return ProviderRateLimited(retry_after=min(int(wait), LONGEST_WAIT) if wait.isdecimal() else 1)
    if error.status_code >= 500 or error.status_code in (408, 409) or error.status_code < 400:
        return ProviderUnavailable()
    said = error.body if isinstance(error.body, dict) else {}
    text = without_secrets(str(said.get("message") or "The provider rejected the request."))[:TEXT_LENGTH]
    return ProviderRejected(text, details={"param": error.param, "reason": error.code})
