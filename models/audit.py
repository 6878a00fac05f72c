"""The audit log: who did what to whom, when, from where, and why. Written in the transaction of the act itself.

`python -m models.audit` reads it.
"""

import argparse
import json
import sys
from datetime import timedelta
from typing import Any
from uuid import UUID

from peewee import CharField, TextField, UUIDField

from models.base import BinaryJSONField, Model, database, in_transaction, iso, now, parse_uuid
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

    @classmethod
    def newest(
        cls, *, actor: str | None, subject: str | None, action: str | None, tenant_id: UUID | None, limit: int
    ) -> list["AuditEvent"]:
        query = cls.select().order_by(cls.id.desc()).limit(limit)
        for column, wanted in ((cls.actor, actor), (cls.subject, subject), (cls.tenant_id, tenant_id)):
            if wanted:
                query = query.where(column == wanted)
        return list(query.where(cls.action.startswith(action)) if action else query)

    @classmethod
    def purge(cls, days: int) -> int:
        return cls.delete().where(cls.created_at < now() - timedelta(days=days)).execute()


@in_transaction
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


def main(argv: list[str] | None = None, prog: str = "python -m models.audit") -> int:
    parser = argparse.ArgumentParser(prog=prog, description="The newest events of the audit log.")
    parser.add_argument("--actor", help="who did it, such as user:<id>, service-account:<name>, operator:<name>")
    parser.add_argument("--subject", help="whom or what it was done to, such as user:<id>, session:<id>, invite:<id>")
    parser.add_argument("--action", help="how the action begins, such as auth.sign or operator.")
    parser.add_argument("--tenant", type=_uuid, help="id of a tenant")
    parser.add_argument("--limit", type=int, default=50, help="how many (default: 50)")
    parser.add_argument("--json", action="store_true", help="print JSON lines, with user agents and details")
    args = parser.parse_args(argv)
    with database.connection_context():
        found = AuditEvent.newest(
            actor=args.actor,
            subject=args.subject,
            action=args.action,
            tenant_id=args.tenant,
            limit=max(1, args.limit),
        )
    for event in found:
        print(
            json.dumps({**event.__data__, "created_at": iso(event.created_at)}, default=str)
            if args.json
            else _line(event)
        )
    return 0


def _uuid(text: str) -> UUID:
    if (known := parse_uuid(text)) is None:
        raise argparse.ArgumentTypeError(f"{text} is not a UUID")
    return known


def _line(event: AuditEvent) -> str:
    why = f'  "{event.reason}"' if event.reason else ""
    return f"{iso(event.created_at)[:19]}Z  {event.action:28} {event.actor} -> {event.subject or '-'}  from {event.ip or '-'}{why}"


if __name__ == "__main__":
    sys.exit(main())
