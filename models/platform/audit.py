"""The audit log: who did what to whom, when, from where, and why. Written in the transaction of the action itself.

`python -m models audit` prints it.
"""

from collections.abc import Collection
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

from peewee import CharField, TextField, UUIDField, fn

from models.platform.client_info import UNKNOWN_CLIENT, ClientInfo
from models.platform.clock import now
from models.platform.database import in_transaction
from models.platform.model import BinaryJSONField, Model
from models.platform.principal import Principal


class AuditEvent(Model):
    """`actor` and `subject` are references such as `user:<id>`, `session:<id>`, `operator:cli`."""

    action = CharField()
    actor = CharField()
    subject = CharField(null=True)
    tenant_id = UUIDField(null=True)
    reason = TextField(null=True)
    ip = CharField(null=True)
    user_agent = CharField(null=True)
    details: dict[str, Any] = BinaryJSONField(default=dict)

    @classmethod
    def newest(
        cls, *, actor: str | None, subject: str | None, action: str | None, tenant_id: UUID | None, limit: int
    ) -> list["AuditEvent"]:
        """The newest events first, filtered by whatever is not None. `action`: the beginning of an action's name."""
        query = cls.select().order_by(cls.id.desc()).limit(limit)
        for column, value in ((cls.actor, actor), (cls.subject, subject), (cls.tenant_id, tenant_id)):
            if value:
                query = query.where(column == value)
        return list(query.where(cls.action.startswith(action)) if action else query)

    @classmethod
    def purge(cls, days: int, *, keep_newest_of: Collection[str] = ()) -> int:
        """Delete events older than `days` days. Returns how many were deleted.

        Of the actions `keep_newest_of` together, the newest event of each subject stays: a decision rests on it.
        """
        old = cls.created_at < now() - timedelta(days=days)
        newer = cls.alias()
        is_followed = newer.select(newer.id).where(
            (newer.subject == cls.subject) & newer.action.in_(list(keep_newest_of)) & (newer.id > cls.id)
        )
        if keep_newest_of:
            old &= cls.action.not_in(list(keep_newest_of)) | fn.exists(is_followed)
        return cast(int, cls.delete().where(old).execute())


@in_transaction
def record(
    action: str,
    actor: Principal | str,
    subject: str | None = None,
    *,
    tenant_id: UUID | None = None,
    reason: str | None = None,
    client: ClientInfo = UNKNOWN_CLIENT,
    **details: Any,
) -> None:
    """Add an event. `actor` is the caller, or a reference such as `operator:cli`; `details` can be any JSON."""
    if isinstance(actor, Principal):
        tenant_id = tenant_id or actor.tenant_id
        reason, actor = reason or actor.override, actor.subject
    AuditEvent.create(
        action=action,
        actor=actor,
        subject=subject,
        tenant_id=tenant_id,
        reason=reason,
        ip=client.ip,
        user_agent=client.agent,
        details=details,
    )
