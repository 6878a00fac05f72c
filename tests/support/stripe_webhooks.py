"""Webhooks as Stripe sends them."""

import hashlib
import hmac
import json
import time

from tests.support.stripe import BILLING

SECRET = BILLING["stripe_webhook_secret"]


def digest(raw, secret=SECRET, at=None):
    at = int(time.time()) if at is None else at
    return hmac.new(secret.encode(), b"%d.%s" % (at, raw), hashlib.sha256).hexdigest()


def signature(raw, *secrets, at=None):
    """The header; with several secrets, as during a rotation."""
    at = int(time.time()) if at is None else at
    return ",".join([f"t={at}", *(f"v1={digest(raw, secret, at)}" for secret in secrets or [SECRET])])


def signed(event, *secrets, at=None):
    """(body, headers) of the delivery of an event."""
    raw = event if isinstance(event, bytes) else json.dumps(event).encode()
    return raw, {"Stripe-Signature": signature(raw, *secrets, at=at), "Content-Type": "application/json"}
