"""The audit log: who did what to whom, when, from where, and why. Written in the transaction of the act itself."""

from typing import Any
from uuid import UUID

from peewee import CharField, TextField, UUIDField

from models.base import BinaryJSONField, Model
from models.origin import NOWHERE, Origin
from models.principal import Principal


class AuditEvent(Model):
    """`actor` and `subject` are references such as `user:<id>`, `session:<id>`, `operator:cli`."""

    action = CharField()
    actor = CharField()
    subject = CharField(null=True)
    tenant_id = UUIDField(null=True)
    reason = TextField(null=True)
    ip = CharField(null=True)
    user_agent = CharField(null=True)
    details = BinaryJSONField(default=dict)


def record(
    action: str,
    actor: Principal | str,
    subject: str | None = None,
    *,
    tenant_id: UUID | None = None,
    reason: str | None = None,
    origin: Origin = NOWHERE,
    **details: Any,
) -> None:
    """In the caller's transaction: it happened, or neither it nor its record did."""
    if isinstance(actor, Principal):
        tenant_id = tenant_id or actor.tenant_id
        reason, actor = reason or actor.override, actor.subject
    AuditEvent.create(
        action=action,
        actor=actor,
        subject=subject,
        tenant_id=tenant_id,
        reason=reason,
        ip=origin.ip,
        user_agent=origin.agent,
        details=details,
    )
