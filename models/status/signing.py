"""The secrets that sign what is sent to the webhooks of subscriptions: 64 hexadecimal characters.

The characters themselves are the key of X-Status-Signature. Libraries for Standard Webhooks take the same text as their secret:
it is base64 too, and they decode it. After a rotation the former secret signs as well for a day.
"""

import contextlib
import secrets
from datetime import datetime, timedelta
from typing import Any

from models.platform import audit
from models.platform.client_info import ClientInfo
from models.platform.clock import now
from models.platform.database import in_transaction
from models.platform.encryption import CannotDecrypt, decrypt, encrypt
from models.platform.errors import Conflict
from models.platform.principal import Principal
from models.status.subscriptions import ACTIVE, WEBHOOK, StatusSubscription

PURPOSE, BYTES = "status-secret", 32
OVERLAP = timedelta(days=1)


class NotAWebhook(Conflict):
    code, message = "not_a_webhook", "Only a webhook subscription that is not revoked has a secret."


class NotActive(Conflict):
    code, message = "subscription_not_active", "Only an active webhook subscription can be tested."


def new_secret() -> str:
    return secrets.token_hex(BYTES)


def columns(secret: str, before: str | None = None) -> dict[str, Any]:
    """What a row holds of a secret. `before`: the former one as the row holds it, if it is to sign for a day."""
    return {"secret": encrypt(PURPOSE, secret), "secret_before": before, "secret_changed_at": now()}


def signing_secrets(row: StatusSubscription) -> list[str]:
    """The secrets that sign now, the newest first. Empty if there is none any more, or none that can be decrypted."""
    found = [row.secret]
    if row.secret_changed_at and now() - row.secret_changed_at < OVERLAP:
        found.append(row.secret_before)
    readable = []
    for token in filter(None, found):
        with contextlib.suppress(CannotDecrypt):
            readable.append(decrypt(PURPOSE, token))
    return readable


def require_active_webhook(row: StatusSubscription) -> None:
    """NotActive."""
    if row.channel != WEBHOOK or row.status != ACTIVE:
        raise NotActive()


@in_transaction
def rotate(principal: Principal, row: StatusSubscription, client: ClientInfo) -> tuple[str, datetime | None]:
    """A new secret, which is shown this once, and until when the former one signs too; None if there was none. NotAWebhook."""
    locked = StatusSubscription.lock(row.id)
    if locked is None or locked.channel != WEBHOOK or locked.is_over:
        raise NotAWebhook()
    secret = new_secret()
    values = columns(secret, locked.secret)
    StatusSubscription.update(**values, updated_at=now()).where(StatusSubscription.id == row.id).execute()
    audit.record(
        "status_subscription.secret_rotated",
        principal,
        f"status_subscription:{row.id}",
        tenant_id=row.tenant_id,
        client=client,
    )
    return secret, now() + OVERLAP if locked.secret else None
