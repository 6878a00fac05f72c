"""Tokens of subscriptions: what confirms one, answers a challenge, or ends one.

They are signed with keys derived from SECRET_KEY and not stored. Several can be valid at once: whoever asks for another mail
must not void the one that the owner of the address is about to use.

    <base64url of JSON [subscription id, expiry, severity filter, components]>.<base64url of its HMAC>
"""

import base64
import binascii
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from models.platform.digests import is_hex_digest, keyed_digest, keyed_hex_digest, possible_digests
from models.platform.settings import settings
from models.status.subscriptions import StatusSubscription

CONFIRM, CHALLENGE, UNSUBSCRIBE = "status-confirm", "status-challenge", "status-unsubscribe"
LONGEST = 8192  # characters


class NotOurs(Exception):
    """We did not make this token, or not for this."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What a token says. `components`: keys of services; none means all."""

    subscription_id: UUID
    expires_at: datetime
    severity_filter: str
    components: list[str]


def create(
    purpose: str, subscription_id: UUID, expires_at: datetime, severity_filter: str, components: Sequence[str]
) -> str:
    """A token for CONFIRM or CHALLENGE. It confirms exactly these wishes, whatever else is asked for meanwhile."""
    values = [subscription_id.hex, int(expires_at.timestamp()), severity_filter, list(components)]
    payload = _encode(json.dumps(values, separators=(",", ":"), ensure_ascii=False).encode())
    return f"{payload}.{_encode(keyed_digest(purpose, payload))}"


def read(purpose: str, token: str) -> Opened:
    """What one of our tokens says, expired or not. NotOurs."""
    payload, _, signature = token.strip().partition(".")
    if len(token) > LONGEST:
        raise NotOurs()
    try:
        given = _decode(signature)
        known = [hmac.compare_digest(given, digest) for digest in possible_digests(purpose, payload)]
        if not any(known):
            raise NotOurs()
        subscription_id, expires, severity_filter, components = json.loads(_decode(payload))
    except (binascii.Error, ValueError):
        raise NotOurs() from None
    return Opened(UUID(subscription_id), datetime.fromtimestamp(expires, UTC), severity_filter, components)


def unsubscribing(subscription_id: UUID) -> str:
    """The token that ends a subscription. It is always the same, until SECRET_KEY and its former values are forgotten."""
    return keyed_hex_digest(UNSUBSCRIBE, subscription_id.hex)


def may_unsubscribe(subscription_id: UUID, token: str) -> bool:
    return token.isascii() and is_hex_digest(token.strip(), UNSUBSCRIBE, subscription_id.hex)


def confirm_url(subscription_id: UUID, token: str) -> str:
    return f"{page()}/confirm?subscription_id={subscription_id}&token={token}"


def unsubscribe_url(row: StatusSubscription) -> str:
    """The link in mails, also for one-click unsubscribing (RFC 8058)."""
    return f"{page()}/unsubscribe?subscription_id={row.id}&token={unsubscribing(row.id)}"


def page() -> str:
    """Where the status page is, without a slash at the end."""
    return (settings.status_page_url or f"{settings.app_public_url.rstrip('/')}/status").rstrip("/")


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), b"-_", validate=True)
