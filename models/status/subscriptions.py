"""Subscriptions: who is told of incidents, by mail or by a webhook. Of a tenant, or of the public, which has no tenant."""

from typing import Any

from peewee import CharField, Expression, IntegerField, TextField, UUIDField

from models.platform.authorization import STATUS_SUBSCRIPTION_MANAGE
from models.platform.clock import now
from models.platform.digests import keyed_hex_digest, possible_hex_digests
from models.platform.encryption import CannotDecrypt, decrypt, encrypt
from models.platform.errors import NotFound
from models.platform.model import BinaryJSONField, DateTimeTZField, TenantModel

EMAIL, WEBHOOK = "email", "webhook"  # channels
PENDING, ACTIVE, REVOKED, DISABLED = "pending_verification", "active", "revoked", "disabled"
ALL, MAJOR, MAINTENANCE = "all", "major", "maintenance"  # filters
PUBLIC_CREATOR = "public"
TARGET = "status-target"  # the purpose of its hash and of its encryption


class SubscriptionNotFound(NotFound):
    code, message = "subscription_not_found", "Subscription not found."


class NoTarget(Exception):
    """The target was erased, or encrypted with a key that is not known any more. Nothing can be sent there."""


class StatusSubscription(TenantModel):
    """`components`: keys of services; none means all. `creator`: a user's id, a service account, or `public`.

    `status`: `disabled` if its webhook has failed for too long. `token_expires_at`: until when the newest confirmation or
    challenge can be answered. `sent_at`: when it was sent. `failures`, `failing_since`: deliveries that were given up in a row.
    `checked_at`, `error`: of the last challenge or test of a webhook, or the last delivery that failed.
    """

    owner, reading = None, STATUS_SUBSCRIPTION_MANAGE
    updated_at = DateTimeTZField(default=now)
    tenant_id = UUIDField(null=True)  # type: ignore[assignment]  # null: of the public
    channel = CharField()
    target_hash = CharField()
    target_encrypted = TextField(null=True)
    target_masked = CharField()
    host = CharField(default="")
    severity_filter = CharField(default=MAJOR)
    components: list[str] = BinaryJSONField(default=list)
    status = CharField(default=PENDING)
    metadata: dict[str, Any] = BinaryJSONField(default=dict)
    creator = CharField()
    token_expires_at = DateTimeTZField(null=True)
    sent_at = DateTimeTZField(null=True)
    verified_at = DateTimeTZField(null=True)
    secret = TextField(null=True)
    secret_before = TextField(null=True)
    secret_changed_at = DateTimeTZField(null=True)
    failures = IntegerField(default=0)
    failing_since = DateTimeTZField(null=True)
    checked_at = DateTimeTZField(null=True)
    error = TextField(null=True)
    revoked_at = DateTimeTZField(null=True)
    revoked_reason = CharField(null=True)

    @property
    def is_over(self) -> bool:
        return self.status == REVOKED


def target(row: StatusSubscription) -> str:
    """The address or the URL to which its messages go. NoTarget."""
    if row.target_encrypted is None:
        raise NoTarget("It was erased.")
    try:
        return decrypt(TARGET, row.target_encrypted)
    except CannotDecrypt:
        raise NoTarget("The key that has encrypted it is not known.") from None


def stored(channel: str, text: str) -> dict[str, str]:
    """The columns that hold a target, in its normal form: by the current SECRET_KEY."""
    return {"target_hash": keyed_hex_digest(TARGET, f"{channel}:{text}"), "target_encrypted": encrypt(TARGET, text)}


def is_target(channel: str, text: str) -> Expression:
    """The condition that a row has this target, under whichever key it was stored."""
    hashes = possible_hex_digests(TARGET, f"{channel}:{text}")
    return (StatusSubscription.channel == channel) & StatusSubscription.target_hash.in_(hashes)
