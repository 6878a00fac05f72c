"""Subscriptions to the status, of all tenants and of the public."""

import argparse
from uuid import UUID

from models.commands import CommandFailed, actor
from models.commands.members import find_tenant
from models.platform.clock import iso
from models.platform.database import database, transaction
from models.platform.ids import parse_uuid
from models.status import ending, listing, subscribing, targets
from models.status.subscriptions import (
    ACTIVE,
    DISABLED,
    EMAIL,
    PENDING,
    REVOKED,
    WEBHOOK,
    StatusSubscription,
    SubscriptionNotFound,
    is_target,
)
from workers.jobs import STATUS_CHALLENGE, STATUS_TEST, enqueue

HELP = "List subscriptions to the status, end them, or have their webhooks challenged or tested."


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|revoke|forget|challenge|test")
    listing_of = actions.add_parser("list", help="the newest first")
    listing_of.add_argument("--channel", choices=(EMAIL, WEBHOOK))
    listing_of.add_argument("--is", dest="status", choices=(PENDING, ACTIVE, DISABLED, REVOKED))
    owner = listing_of.add_mutually_exclusive_group()
    owner.add_argument("--tenant", help="only this one's: its slug or id")
    owner.add_argument("--public", action="store_true", help="only those of no tenant")
    listing_of.add_argument("--limit", type=int, default=50, help="number of subscriptions (default: 50)")
    listing_of.add_argument("--cursor", help="from the last line of the list before, for older ones")
    actions.add_parser("revoke", help="end one").add_argument("subscription", help="its id")
    forget = actions.add_parser("forget", help="end all subscriptions of an address or URL, whoever has made them")
    forget.add_argument("target", help="an e-mail address, or the URL of a webhook")
    for name, text in (
        ("challenge", "have a webhook challenged that is pending or disabled: answering it activates it"),
        ("test", "send a test to an active webhook; `list` tells how it ended"),
    ):
        actions.add_parser(name, help=text).add_argument("subscription", help="its id")


def run(args: argparse.Namespace) -> int:
    with database.connection_context():
        if args.action == "list":
            return _list(args)
        if args.action == "forget":
            return _forget(args.target)
        row = _find(args.subscription)
        return {"revoke": _revoke, "challenge": _challenge, "test": _test}[args.action](row)


def _list(args: argparse.Namespace) -> int:
    rows = StatusSubscription.select()
    for column, value in ((StatusSubscription.channel, args.channel), (StatusSubscription.status, args.status)):
        rows = rows.where(column == value) if value else rows
    if args.tenant:
        rows = rows.where(StatusSubscription.tenant_id == find_tenant(args.tenant).id)
    if args.public:
        rows = rows.where(StatusSubscription.tenant_id.is_null())
    page = listing.page(rows, max(1, args.limit), args.cursor)
    for row in page.items:
        print(_line(row))
    if page.next_cursor:
        print(f"older: --cursor {page.next_cursor}")
    return 0


def _line(row: StatusSubscription) -> str:
    of = f" of {','.join(row.components)}" if row.components else ""
    problem = f"  {row.error}" if row.error else ""
    return (
        f"{row.id}  {iso(row.created_at)[:19]}Z  {row.status:20}  {row.channel:7}  {row.target_masked}  "
        f"{row.severity_filter}{of}  {row.tenant_id or 'public'}{problem}"
    )


def _find(text: str) -> StatusSubscription:
    row: StatusSubscription | None = StatusSubscription.get_or_none(StatusSubscription.id == parse_uuid(text))
    if row is None:
        raise SubscriptionNotFound()
    return row


def _revoke(row: StatusSubscription) -> int:
    with transaction():
        ending.revoke(actor(), row)
    print(f"{row.id} is revoked; its target is erased.")
    return 0


def _forget(text: str) -> int:
    target = targets.parse(EMAIL if "@" in text and "://" not in text else WEBHOOK, text)
    with transaction():
        rows = list(StatusSubscription.select().where(is_target(target.channel, target.text)))
        for row in rows:
            ending.revoke(actor(), row)
    print(f"{len(rows)} of {target.masked} revoked and erased.")
    return 0


def _challenge(row: StatusSubscription) -> int:
    subscribing.require_unconfirmed(row)
    if row.channel != WEBHOOK:
        raise CommandFailed("Only webhooks are challenged.")
    return _send(row.id, row.tenant_id, is_test=False)


def _test(row: StatusSubscription) -> int:
    if row.channel != WEBHOOK or row.status != ACTIVE:
        raise CommandFailed("Only an active webhook can be tested.")
    return _send(row.id, row.tenant_id, is_test=True)


def _send(row_id: UUID, tenant_id: UUID | None, *, is_test: bool) -> int:
    with transaction():
        enqueue(STATUS_TEST if is_test else STATUS_CHALLENGE, tenant_id=tenant_id, subscription_id=str(row_id))
    print(f"A worker will send it. How it ended: subscriptions list, at {row_id}.")
    return 0
