"""Checks that a webhook comes from Stripe: header `Stripe-Signature: t=<unix time>,v1=<hex>[,v1=<hex> ...]`.

A `v1` is the HMAC-SHA256 of `<t>.<raw body>` with the endpoint's secret. During a rotation Stripe signs with two secrets,
and STRIPE_WEBHOOK_SECRET may hold both.
"""

import hashlib
import hmac
from dataclasses import dataclass

from edge.webhook_signatures import SignatureInvalid, require_fresh, require_one
from models.platform.errors import BadRequest, Unavailable
from models.platform.settings import settings


class SecretMissing(Unavailable):
    code, message = "webhook_secret_missing", "Webhook secret not configured."


class SignatureMissing(BadRequest):
    code, message = "signature_missing", "Missing Stripe signature header."


@dataclass(frozen=True, slots=True)
class Signature:
    """`time`: as the header has it. `digests`: any of them may match."""

    time: str
    digests: list[bytes]

    @classmethod
    def of_header(cls, header: str | None) -> "Signature":
        """What the header says. SignatureMissing, SignatureInvalid if it cannot fit any body, such as one that is too old."""
        if not header:
            raise SignatureMissing()
        pairs = [item.strip().partition("=") for item in header.split(",")]
        times = [value for name, _, value in pairs if name == "t"]
        digests = [value.encode() for name, _, value in pairs if name == "v1"]
        if len(times) != 1 or not digests:
            raise SignatureInvalid()
        require_fresh(times[0], settings.stripe_webhook_tolerance_seconds)
        return cls(times[0], digests)

    def require(self, body: bytes, keys: list[bytes]) -> None:
        """SignatureInvalid if no key fits the body."""
        signed = b"%s.%s" % (self.time.encode(), body)
        require_one([hmac.new(key, signed, hashlib.sha256).hexdigest().encode() for key in keys], self.digests)


def webhook_keys() -> list[bytes]:
    """The secrets of STRIPE_WEBHOOK_SECRET, which are used as they are written. SecretMissing (503) if there is none."""
    secret = settings.stripe_webhook_secret
    keys = [text.encode() for text in settings.items(secret.get_secret_value())] if secret else []
    if not keys:
        raise SecretMissing()
    return keys
