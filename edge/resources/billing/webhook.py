"""POST /webhooks/stripe: an event whose signature holds is stored and acknowledged; workers process it."""

import falcon
import peewee

from edge.bodies import BodyLimits, read_body
from edge.endpoint import endpoint
from edge.errors import TooLarge
from edge.places import Places
from edge.request import Request
from edge.stripe_signatures import Signature, SignatureMissing, webhook_keys
from edge.webhook_signatures import SignatureInvalid
from models.billing.inbox import RESULTS, UNVERIFIED, Delivery, InvalidPayload, accept
from models.platform.authorization import PUBLIC
from models.platform.database import release, transaction
from models.platform.errors import Unavailable
from models.platform.grouping import Grouped
from models.platform.settings import settings
from workers.jobs import BILLING_EVENTS, enqueue

ANSWER = {"type": "object", "additionalProperties": {"type": "boolean"}}
LARGE_AT_ONCE = 64  # bodies beyond what strangers may send elsewhere
REFUSALS = {
    SignatureMissing: "missing_signature",
    SignatureInvalid: "invalid_signature",
    InvalidPayload: "invalid_json",
}


class Busy(Unavailable):
    code, message = "webhook_busy", "Too many large events are arriving at once. Retry shortly."


class StripeWebhook:
    def __init__(self) -> None:
        self.large = Places("large_bodies")

    @endpoint(
        "Handle Stripe Webhook", "default", action=PUBLIC, status=202, schema=ANSWER, headers=("Stripe-Signature",)
    )
    def on_post(self, req: Request, resp: falcon.Response) -> dict[str, bool]:
        """Stores a signed event of Stripe once, and acknowledges it when it is safe. `duplicate`: it was stored before."""
        keys = webhook_keys()
        try:
            delivery = self._verified(req, keys)
            is_new = _store(delivery)
            if is_new is None:
                raise InvalidPayload()
        except tuple(REFUSALS) as error:
            RESULTS.labels(UNVERIFIED, REFUSALS[type(error)]).inc()
            raise
        RESULTS.labels(delivery.type, "accepted" if is_new else "duplicate").inc()
        return {"success": True, "duplicate": not is_new}

    def _verified(self, req: Request, keys: list[bytes]) -> Delivery:
        """The event of a request. What the header alone shows to be wrong is refused before a byte of the body is read."""
        signature = Signature.of_header(req.get_header("Stripe-Signature"))
        raw = self._read(req)
        signature.require(raw, keys)
        return Delivery.parse(raw)

    def _read(self, req: Request) -> bytes:
        """The body of a stranger, until its signature is checked: so only some large ones at once, and slow ones give way."""
        size = settings.stripe_webhook_body_limit_bytes
        limits = BodyLimits(size, settings.anonymous_body_timeout_seconds, elements=0)
        if (req.content_length or size) <= settings.anonymous_body_limit_bytes:
            return read_body(req, limits)
        if (req.content_length or 0) > size:
            raise TooLarge(f"The request body may have {size} bytes at most.")
        if not self.large.add("all", id(req), req.env.get("gunicorn.socket"), LARGE_AT_ONCE):
            raise Busy()
        try:
            return read_body(req, limits)
        finally:
            self.large.remove("all", id(req))


def _store_group(deliveries: list[Delivery]) -> list[bool | None]:
    """For each, whether it is new; None for what Postgres cannot store. What is answered has been committed."""
    try:
        return _store_together(deliveries)
    except peewee.DataError:
        return [_store_alone(delivery) for delivery in deliveries]
    finally:
        release()


def _store_together(deliveries: list[Delivery]) -> list[bool | None]:
    """In one transaction, with one job."""
    with transaction():
        is_new = accept(deliveries)
        if any(is_new):
            enqueue(BILLING_EVENTS)
    return [*is_new]


def _store_alone(delivery: Delivery) -> bool | None:
    try:
        return _store_together([delivery])[0]
    except peewee.DataError:
        return None


_store = Grouped("stripe-inbox", _store_group)
