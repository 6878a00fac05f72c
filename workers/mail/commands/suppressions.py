"""Addresses that get no mail."""

import argparse

from models.commands import actor
from models.mail import suppressions
from models.platform.database import database, transaction

HELP = "List, add and remove addresses that get no mail, as mail to them has bounced or was complained about."
AT_ONCE = 1000


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|add|remove")
    listed = actions.add_parser("list", help="show them, the newest first; the addresses themselves are not kept")
    listed.add_argument("--reason", choices=suppressions.REASONS)
    listed.add_argument("--limit", type=int, default=100, help="default: 100")
    actions.add_parser("add", help="have no mail sent to an address").add_argument("address")
    actions.add_parser("remove", help="have mail sent to an address again").add_argument("address")


def run(args: argparse.Namespace) -> int:
    with database.connection_context():
        if args.action == "list":
            _list(args.reason, args.limit)
            return 0
        with transaction():
            change = suppressions.add_by_hand if args.action == "add" else suppressions.remove
            row = change(actor(), args.address)
    print(f"{row.address_masked} {'gets no mail' if args.action == 'add' else 'gets mail again'}.")
    return 0


def _list(reason: str | None, limit: int) -> None:
    rows, cursor = 0, None
    while rows < limit:
        page = suppressions.page(reason, min(AT_ONCE, limit - rows), cursor)
        for row in page.items:
            print(f"{row.created_at:%Y-%m-%d %H:%M}  {row.reason:10}  {row.address_masked}")
        rows, cursor = rows + len(page.items), page.next_cursor
        if cursor is None:
            break
    if not rows:
        print("There are none.")
