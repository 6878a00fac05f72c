"""Probes of services elsewhere: calls that cost nothing and change nothing."""

from collections.abc import Mapping
from typing import Any

from models.platform.settings import settings
from workers.agents.providers.client import is_there
from workers.agents.providers.errors import ProviderError
from workers.agents.providers.models_file import models
from workers.gateways import stripe as stripe_gateway
from workers.gateways import timed_http
from workers.status.probes.finding import Failed, Finding, NotConfigured

LARGEST_PAGE = 1024 * 1024  # bytes


def http(spec: Mapping[str, Any], seconds: float) -> Finding:
    """An operator's own URL, inside or outside, answers with 200 to 299. Redirects are not followed."""
    headers = {"user-agent": f"{settings.app_name} (status)", "accept": "*/*", "accept-encoding": "identity"}
    try:
        answer = timed_http.get(spec["url"], headers, seconds=seconds, largest=LARGEST_PAGE)
    except timed_http.TimedOut:
        raise Failed(f"It did not answer within {seconds:g} s.") from None
    except timed_http.Unreachable as error:
        raise Failed(f"It did not answer properly ({error}).") from None
    if not 200 <= answer.status < 300:
        raise Failed(f"It answered with {answer.status}.")
    return Finding()


def model(spec: Mapping[str, Any], seconds: float) -> Finding:
    """One of the providers that the default model may be asked of answers. Slow: it is not the first of them."""
    providers = list(
        {target.provider.name: target.provider for target in models().chain(settings.agent_model_default)}.values()
    )
    if not any(provider.key() or provider.base_url for provider in providers):
        raise NotConfigured
    reasons = []
    for provider in providers:
        try:
            is_there(provider, seconds / len(providers))
        except ProviderError as error:
            reasons.append(f"{provider.name}: {error.code}")
        else:
            return Finding(is_slow=bool(reasons), reason="; ".join(reasons) or None)
    raise Failed("; ".join(reasons))


def stripe(spec: Mapping[str, Any], seconds: float) -> Finding:
    if not settings.enable_billing:
        raise NotConfigured
    try:
        stripe_gateway.call(
            "products.list", lambda stripe: stripe.v1.products.list({"limit": 1}, {"max_network_retries": 0})
        )
    except stripe_gateway.ProviderError as error:
        raise Failed(f"{error.code}: {error.message}") from None
    return Finding()
