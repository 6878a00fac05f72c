"""POST /webhooks/resend: what Resend reports of mails. Bounces and complaints suppress the address."""

import json
import logging

import falcon
import redis

from edge.bodies import BodyLimits, read_body
from edge.endpoint import endpoint
from edge.request import Request
from edge.webhook_signatures import Signature, keys
from models.mail import reports
from models.platform.authorization import PUBLIC
from models.platform.database import transaction
from models.platform.errors import BadRequest, Unavailable
from models.platform.redis import fast_redis_client
from models.platform.settings import settings

log = logging.getLogger(__name__)
REMEMBERED_SECONDS = 3 * 86_400  # Resend repeats what was not answered for a day or two, each time with a new signature
ANSWER = {"type": "object", "additionalProperties": {"type": "boolean"}}


class SecretMissing(Unavailable):
    code, message = "webhook_secret_missing", "Webhook secret not configured."


class InvalidPayload(BadRequest):
    code, message = "payload_invalid", "The body is not JSON."


class ResendWebhook:
    @endpoint("Handle Resend Webhook", "default", action=PUBLIC, schema=ANSWER, headers=("svix-id", "svix-signature"))
    def on_post(self, req: Request, resp: falcon.Response) -> dict[str, bool]:
        """Takes a signed report about a mail. `suppressed`: its address gets no mail from now on. Beyond the contract."""
        allowed = _keys()
        signature = Signature.of_headers(req)
        raw = read_body(req, BodyLimits.of(req))
        signature.require(raw, allowed)
        try:
            report = reports.read(json.loads(raw))
        except (ValueError, RecursionError):
            raise InvalidPayload() from None
        if report is None or _was_taken(signature.id):
            return {"success": True, "suppressed": False}
        with transaction():
            is_new = reports.take(report)
        _remember(signature.id)
        return {"success": True, "suppressed": is_new}


def _keys() -> list[bytes]:
    secret = settings.resend_webhook_secret
    try:
        found = keys(settings.items(secret.get_secret_value())) if secret else []
    except ValueError:
        found = []
    if not found:
        raise SecretMissing()
    return found


def _was_taken(message_id: str) -> bool:
    """Whether it was: one that is sent again must not suppress an address that an operator has freed meanwhile."""
    try:
        return bool(fast_redis_client().exists(_name(message_id)))
    except redis.RedisError as error:
        log.warning("mail.report_memory_missing", extra={"error": type(error).__name__})
        return False


def _remember(message_id: str) -> None:
    try:
        fast_redis_client().set(_name(message_id), 1, ex=REMEMBERED_SECONDS)
    except redis.RedisError as error:
        log.warning("mail.report_memory_missing", extra={"error": type(error).__name__})


def _name(message_id: str) -> str:
    return f"mail:report:{message_id}"
