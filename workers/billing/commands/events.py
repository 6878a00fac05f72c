"""Stripe's events in the inbox: listed, shown, and replayed."""

import argparse
import json
import sys

from models.billing import dispatches
from models.billing.dispatches import PARKED, Dispatch, Filter
from models.billing.events import FAILED, PROCESSED, RECEIVED
from models.commands import CommandFailed, actor
from models.commands.members import find_tenant
from models.platform.clock import iso, iso_or_none
from models.platform.database import database, transaction
from workers.jobs import BILLING_EVENTS, enqueue

HELP = "Show what became of Stripe's events, and have some processed again."
STATES = (RECEIVED, PROCESSED, FAILED, PARKED)


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|show|replay")
    listing = actions.add_parser("list", help="the events received last")
    listing.add_argument("--limit", type=int, default=50, help="number of events (default: 50)")
    listing.add_argument("--cursor", help="from the last line of the list before, for older events")
    show = actions.add_parser("show", help="one event with its payload, as JSON; the audit log records it")
    show.add_argument("event", help="id of the event: ours, or Stripe's")
    replay = actions.add_parser("replay", help="have one event processed again, or all of a state")
    replay.add_argument("event", nargs="?", help="id of the event: ours, or Stripe's")
    replay.add_argument("--limit", type=int, default=100, help="number of events, the oldest first (default: 100)")
    replay.add_argument("--yes", action="store_true", help="do not ask")
    for command in (listing, replay):
        command.add_argument("--is", dest="state", choices=STATES, help="parked: failed, and not tried again")
        command.add_argument("--type", help="type of the events, such as invoice.paid")
        command.add_argument("--tenant", help="only this one's: its slug or id")


def run(args: argparse.Namespace) -> int:
    with database.connection_context():
        return {"list": _list, "show": _show, "replay": _replay}[args.action](args)


def _list(args: argparse.Namespace) -> int:
    page = dispatches.page(_filter(args), max(1, args.limit), args.cursor)
    for item in page.items:
        print(_line(item))
    if page.next_cursor:
        print(f"older: --cursor {page.next_cursor}")
    return 0


def _show(args: argparse.Namespace) -> int:
    with transaction():
        row = dispatches.read(args.event, actor())
    fields = Dispatch.of(row)._asdict() | {"payload": row.payload, "event": row.event}
    print(json.dumps(fields, indent=2, default=str))
    return 0


def _replay(args: argparse.Namespace) -> int:
    if args.event is None and args.state is None:
        raise CommandFailed("Name an event, or a state, such as --is parked.")
    what = args.event or f"at most {args.limit} {args.state} events"
    if not args.yes and not _agrees(f"Process {what} again? [y/N] "):
        raise CommandFailed("Nothing was replayed.")
    with transaction():
        if args.event:
            dispatches.replay(args.event, actor())
            count = 1
        else:
            count = dispatches.replay_all(_filter(args), max(1, args.limit), actor())
        enqueue(BILLING_EVENTS)
    print(f"{count} to be processed again.")
    return 0


def _filter(args: argparse.Namespace) -> Filter:
    return Filter(args.state, args.type, find_tenant(args.tenant).id if args.tenant else None)


def _agrees(question: str) -> bool:
    print(question, end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _line(item: Dispatch) -> str:
    due = f"  due {iso_or_none(item.due_at)}" if item.due_at else ""
    error = f"  {item.error}" if item.error else ""
    return (
        f"{iso(item.received_at)[:19]}Z  {item.shown_state:9}  {item.external_id}  {item.type}  "
        f"{item.tenant_id or '-'}  {item.attempts} attempt{'' if item.attempts == 1 else 's'}{due}{error}"
    )
