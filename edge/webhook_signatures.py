"""Checks what others sign in the form of Standard Webhooks (https://www.standardwebhooks.com): an id, a time, and signatures.

Svix, by which many services send, gives the same headers names that begin with `svix-`.
"""

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass

from edge.request import Request
from models.platform.errors import BadRequest

PREFIX, VERSION = "whsec_", "v1,"
TOLERANCE_SECONDS = 300
SHORTEST_KEY = 8  # bytes; production asks for more at its start
MOST_SIGNATURES = 10  # while a secret is changed there are two
DIGITS = re.compile("[0-9]{1,12}")
IDENTIFIER = re.compile(r"[!-~]{1,128}")


class SignatureMissing(BadRequest):
    code, message = "signature_missing", "Missing webhook signature headers."


class SignatureInvalid(BadRequest):
    code, message = "signature_invalid", "Signature verification failed."


@dataclass(frozen=True, slots=True)
class Signature:
    """`id` stays the same when the message is sent again."""

    id: str
    time: str
    digests: list[bytes]

    @classmethod
    def of_headers(cls, req: Request) -> "Signature":
        """What the headers say. SignatureMissing, SignatureInvalid if they fit no body, such as ones that are too old."""
        names = ("id", "timestamp", "signature")
        found = [req.get_header(f"webhook-{name}") or req.get_header(f"svix-{name}") for name in names]
        if not all(found):
            raise SignatureMissing()
        message_id, timestamp, signatures = map(str, found)
        if not IDENTIFIER.fullmatch(message_id):
            raise SignatureInvalid()
        require_fresh(timestamp, TOLERANCE_SECONDS)
        digests = [text.removeprefix(VERSION).encode() for text in signatures.split() if text.startswith(VERSION)]
        if not 0 < len(digests) <= MOST_SIGNATURES:
            raise SignatureInvalid()
        return cls(message_id, timestamp, digests)

    def require(self, body: bytes, keys: Sequence[bytes]) -> None:
        """SignatureInvalid if no key fits the body."""
        content = b"%s.%s.%s" % (self.id.encode(), self.time.encode(), body)
        require_one([base64.b64encode(hmac.digest(key, content, hashlib.sha256)) for key in keys], self.digests)


def require_fresh(timestamp: str, tolerance: int) -> None:
    """SignatureInvalid if this is not a time, in seconds since 1970, or further from now than `tolerance` seconds."""
    if not DIGITS.fullmatch(timestamp) or abs(time.time() - int(timestamp)) > tolerance:
        raise SignatureInvalid()


def require_one(expected: Sequence[bytes], given: Sequence[bytes]) -> None:
    """SignatureInvalid if none that is given is one of the expected ones."""
    # All are compared, and each in constant time: how long it takes says nothing of how much of it fits.
    if not sum(hmac.compare_digest(ours, theirs) for ours in expected for theirs in given):
        raise SignatureInvalid()


def keys(secrets: Sequence[str]) -> list[bytes]:
    """The keys that secrets, `whsec_` and base64, stand for. ValueError, also for one that anybody could guess."""
    found = [base64.b64decode(secret.removeprefix(PREFIX), validate=True) for secret in secrets]
    if any(len(key) < SHORTEST_KEY for key in found):
        raise ValueError("the secret is too short")
    return found
