"""Which wire a provider speaks. For `auto` it is found out by one request, and remembered for a while."""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

import httpx2
import openai
import orjson

from models.platform.settings import settings
from workers.agents.providers import client
from workers.agents.providers.client import Wait
from workers.agents.providers.errors import ProviderError
from workers.agents.providers.models_file import Provider, Wire

PROBE_SECONDS = 10.0
UNSURE_SECONDS = 60.0  # after which a server that gave no clear answer is asked again
UNKNOWN_ENDPOINT = (404, 405, 501)
log = logging.getLogger(__name__)


class Finding(NamedTuple):
    wire: Wire
    expires: float


_findings: dict[str, Finding] = {}  # by base URL
_locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)


def wire_of(provider: Provider, wait: Wait) -> Wire:
    """The wire to use. ProviderError if it has to be found out and the provider does not answer."""
    if provider.wire != "auto":
        return provider.wire
    if provider.base_url is None:
        return "responses"  # OpenAI itself
    finding = _findings.get(provider.base_url)
    if finding and finding.expires > time.monotonic():
        return finding.wire
    with wait(), _locks[provider.base_url]:  # of a hundred requests at once, one asks
        return _find_out(provider, provider.base_url)


def _find_out(provider: Provider, url: str) -> Wire:
    old = _findings.get(url)
    if old and old.expires > time.monotonic():
        return old.wire
    try:
        found = probe(provider)
    except ProviderError:
        if old is None:
            raise
        found = None
    wire: Wire = found or (old.wire if old else "responses")
    seconds = settings.openai_wire_ttl_seconds if found else UNSURE_SECONDS
    log.info("model.wire_found", extra={"provider": provider.name, "wire": wire, "is_sure": bool(found)})
    _findings[url] = Finding(wire, time.monotonic() + seconds)
    return wire


def probe(provider: Provider) -> Wire | None:
    """Ask for a response to nothing, from no model. A server that has the endpoint refuses, so nothing is generated.

    None if the server fails: some gateways do, at such a request. ProviderError if it did not get that far.
    """
    try:
        response = client.post(provider, "/responses", {}, options={"timeout": PROBE_SECONDS})
    except ProviderError as error:
        refusal = error.__cause__
        if not isinstance(refusal, openai.APIStatusError) or refusal.status_code in (401, 403, 408, 409, 429):
            raise
        if refusal.status_code in UNKNOWN_ENDPOINT:
            return "responses" if _misses_model(refusal) else "chat"
        return None if refusal.status_code >= 500 else "responses"
    return "responses" if _json(response).get("object") == "response" else "chat"  # some servers answer 200 to any path


def _misses_model(refusal: openai.APIStatusError) -> bool:
    """Whether a 404 is about the model that was not named, and not about the endpoint."""
    error = refusal.body if isinstance(refusal.body, Mapping) else {}
    return error.get("code") == "model_not_found" or "model" in str(error.get("message") or "").lower()


def _json(response: httpx2.Response) -> dict[str, Any]:
    try:
        value = orjson.loads(response.read())
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
