"""Stripe, through its own library. Blocking calls, for workers; no other module imports that library.

    answer = call("subscriptions.create", lambda stripe: stripe.v1.subscriptions.create(params, options))

Errors are ours, so that nothing else needs the library's. Their messages contain no key and no data of a card.
"""

import email.utils
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit
from uuid import UUID

from models.platform import tracing
from models.platform.clock import now
from models.platform.database import database
from models.platform.ids import uuid7
from models.platform.settings import settings
from workers import metrics

if TYPE_CHECKING:
    from stripe import StripeClient, StripeError, StripeObject

API_VERSION = "2026-10-28.endive"  # which our code and the library are written for; the webhooks' endpoint has it too
STRIPE = "https://api.stripe.com"
CONNECT_SECONDS = 5
RETRIES = (
    2  # by the library, within a call: after lost connections, 409 and 5xx. It sends the same idempotency key again
)
PAGE = 100  # objects
Call: TypeAlias = "Callable[[StripeClient], StripeObject]"


class Answer(dict[str, Any]):
    """An object of Stripe as plain JSON data; decimal numbers are texts.

    `at`: Stripe's clock when it answered, in whole seconds. `number`: grows with each answer, for those of one second.
    `replayed`: it is what was answered when the idempotency key was first used.
    """

    def __init__(
        self, data: dict[str, Any], at: datetime, *, replayed: bool = False, number: UUID | None = None
    ) -> None:
        super().__init__(data)
        self.at, self.replayed, self.number = at, replayed, number or uuid7()

    def part(self, data: dict[str, Any]) -> "Answer":
        """An object in this answer, such as an item of a list, with what is known of the answer."""
        return Answer(data, self.at, replayed=self.replayed, number=self.number)


class ProviderError(Exception):
    """`code` is stable, and what clients see. `may_heal`: whether the same call may succeed later."""

    code = "provider_error"
    may_heal = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ProviderUnavailable(ProviderError):
    """No answer, or one that asks to come back: Stripe is away, busy, or still doing an earlier call with the same key."""

    code, may_heal = "provider_unavailable", True


class ProviderAuthentication(ProviderError):
    """The key is missing, wrong, or not allowed to do this."""

    code = "provider_authentication"


class CardDeclined(ProviderError):
    """The payment did not succeed. `decline_code`: why, in Stripe's words, such as `insufficient_funds`."""

    code = "card_declined"

    def __init__(self, message: str, decline_code: str | None = None) -> None:
        super().__init__(message)
        self.decline_code = decline_code


class ProviderRejected(ProviderError):
    """Stripe will never accept this call. `param`: what it objects to, if it says so; `reason`: its code."""

    code = "provider_rejected"

    def __init__(self, message: str, param: str | None = None, reason: str | None = None) -> None:
        super().__init__(message)
        self.param, self.reason = param, reason


class NotThere(ProviderRejected):
    """The object that the call is about does not exist at Stripe."""

    code = "provider_resource_missing"


def call(name: str, function: Call) -> Answer:
    """Call Stripe: `function(client)` makes exactly one request. `name`, for metrics, has few values, such as
    `customers.create`.

    Retries of the library included it takes at most three times STRIPE_TIMEOUT_SECONDS, and some seconds. Raises
    ProviderError, and RuntimeError in a transaction, which would be held meanwhile.
    """
    if database.in_transaction():
        raise RuntimeError(f"{name}: Stripe must not be called in a transaction.")
    from stripe import StripeError

    started, result = time.perf_counter(), "interrupted"
    with tracing.span(f"stripe {name}", "client", attributes={"server.address": _host()}):
        try:
            answer = _answer(function(client()))
            result = "success"
        except StripeError as error:
            ours = _ours(error)
            result = ours.code
            raise ours from None  # the library's error holds Stripe's whole answer
        except ProviderError as error:
            result = error.code
            raise
        finally:
            metrics.stripe_called(name, result, time.perf_counter() - started)
    return answer


def every(name: str, function: "Callable[[StripeClient, Any], StripeObject]", **parameters: Any) -> Iterator[Answer]:
    """All objects of a list, page after page: `function(client, parameters)` asks for the page with these parameters, which
    are those given and the page's."""
    parameters = {**parameters, "limit": PAGE}
    while True:
        page = call(name, lambda stripe: function(stripe, parameters))  # noqa: B023  (called at once)
        yield from map(page.part, page["data"])
        if not page["has_more"] or not page["data"]:
            return
        parameters = {**parameters, "starting_after": page["data"][-1]["id"]}


def client() -> "StripeClient":
    """The client of this process. Raises ProviderAuthentication if STRIPE_SECRET_KEY is not set."""
    key = settings.stripe_secret_key.get_secret_value().strip() if settings.stripe_secret_key else ""
    if not key:
        raise ProviderAuthentication("STRIPE_SECRET_KEY is not configured.")
    return _client(key, settings.stripe_api_base, settings.stripe_timeout_seconds)


@cache
def _client(key: str, base: str | None, seconds: float) -> "StripeClient":
    import stripe  # PERF: takes half a second, which only processes pay that call Stripe

    stripe.enable_telemetry = False
    stripe.set_app_info(settings.app_name, version=settings.app_version)
    addresses = {name: base.rstrip("/") for name in ("api", "files", "meter_events")} if base else {}
    return stripe.StripeClient(
        key,
        stripe_version=API_VERSION,
        base_addresses=addresses,  # type: ignore[arg-type]  # a TypedDict of these names
        max_network_retries=RETRIES,
        # It keeps a session, and with it connections, for each thread.
        http_client=stripe.RequestsClient(timeout=(min(CONNECT_SECONDS, seconds), seconds)),
    )


def _answer(found: "StripeObject") -> Answer:
    headers = found.last_response.headers if found.last_response is not None else {}
    return Answer(
        found.to_dict(for_json=True),
        _time(headers.get("Date")) or now(),
        replayed=headers.get("Idempotent-Replayed") == "true",
    )


def _time(header: str | None) -> datetime | None:
    try:
        return email.utils.parsedate_to_datetime(header).astimezone(UTC) if header else None
    except ValueError:
        return None


def _host() -> str:
    return urlsplit(settings.stripe_api_base or STRIPE).hostname or ""


def _ours(error: "StripeError") -> ProviderError:
    """Our error for one of the library's."""
    import stripe

    details = (error.json_body or {}).get("error") if isinstance(error.json_body, dict) else None
    details = details if isinstance(details, dict) else {}
    text, code = error.user_message or type(error).__name__, error.code or details.get("code")
    if isinstance(error, stripe.CardError):
        return CardDeclined(text, details.get("decline_code") or code)
    if isinstance(error, stripe.AuthenticationError | stripe.PermissionError):
        return ProviderAuthentication("Stripe does not accept the key, or not for this call.")
    if isinstance(error, stripe.APIConnectionError):
        return ProviderUnavailable("Stripe could not be reached.")
    if code == "resource_missing":
        return NotThere(text, details.get("param"), code)
    status = error.http_status or 500
    # 2xx: what answered is not Stripe. 409: another call holds the object, or the same key.
    if isinstance(error, stripe.RateLimitError) or status in (409, 429) or status >= 500 or status < 300:
        return ProviderUnavailable("Stripe did not answer as it should.")
    return ProviderRejected(text, details.get("param"), code)
