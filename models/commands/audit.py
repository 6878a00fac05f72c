"""Print the newest events of the audit log."""

import argparse
import json
from uuid import UUID

from models.platform.audit import AuditEvent
from models.platform.clock import iso
from models.platform.database import database
from models.platform.ids import parse_uuid

HELP = "Print the newest events of the audit log: who did what, when, from where and why."


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--actor", help="who acted: user:<id>, service-account:<name>, operator:<name>")
    parser.add_argument("--subject", help="what it was done to: user:<id>, session:<id>, invite:<id>")
    parser.add_argument("--action", help="beginning of the action, such as auth.sign or operator.")
    parser.add_argument("--tenant", type=uuid_argument, help="id of the tenant")
    parser.add_argument("--limit", type=int, default=50, help="number of events (default: 50)")
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object per line, with user agents and details"
    )


def run(args: argparse.Namespace) -> int:
    with database.connection_context():
        events = AuditEvent.newest(
            actor=args.actor,
            subject=args.subject,
            action=args.action,
            tenant_id=args.tenant,
            limit=max(1, args.limit),
        )
    for event in events:
        print(_as_json(event) if args.json else _as_line(event))
    return 0


def uuid_argument(text: str) -> UUID:
    if (value := parse_uuid(text)) is None:
        raise argparse.ArgumentTypeError(f"{text} is not a UUID")
    return value


def _as_json(event: AuditEvent) -> str:
    return json.dumps({**event.__data__, "created_at": iso(event.created_at)}, default=str)


def _as_line(event: AuditEvent) -> str:
    reason = f'  "{event.reason}"' if event.reason else ""
    time = f"{iso(event.created_at)[:19]}Z"
    return f"{time}  {event.action:28} {event.actor} -> {event.subject or '-'}  from {event.ip or '-'}{reason}"
