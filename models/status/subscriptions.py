"""Subscriptions: who is told of incidents, by mail or by a webhook. Of a tenant, or of the public, which has no tenant."""

from typing import Any

from peewee import CharField, IntegerField, TextField, UUIDField

from models.platform.authorization import STATUS_SUBSCRIPTION_MANAGE
from models.platform.clock import now
from models.platform.errors import NotFound
from models.platform.model import BinaryJSONField, DateTimeTZField, TenantModel

EMAIL, WEBHOOK = "email", "webhook"  # channels
PENDING, ACTIVE, REVOKED, DISABLED = "pending_verification", "active", "revoked", "disabled"
ALL, MAJOR, MAINTENANCE = "all", "major", "maintenance"  # filters


class SubscriptionNotFound(NotFound):
    code, message = "subscription_not_found", "Subscription not found."


class StatusSubscription(TenantModel):
    """`components`: keys of services; none means all. `token_*`: of the mail or challenge that confirms it.

    `status`: `disabled` if its webhook has failed for too long. `failing_since`: since when each delivery has failed.
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
    token_hash = CharField(null=True)
    token_expires_at = DateTimeTZField(null=True)
    sent_at = DateTimeTZField(null=True)
    verified_at = DateTimeTZField(null=True)
    secret = TextField(null=True)
    secret_before = TextField(null=True)
    secret_changed_at = DateTimeTZField(null=True)
    failures = IntegerField(default=0)
    failing_since = DateTimeTZField(null=True)
    revoked_at = DateTimeTZField(null=True)
    revoked_reason = CharField(null=True)
