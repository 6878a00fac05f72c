"""The messages: list, read, assign, close, reopen, erase."""

import argparse
from uuid import UUID

from models.commands import CommandFailed, actor
from models.contact import listing
from models.contact.messages import STATES, ContactMessage
from models.contact.recipients import recipients
from models.platform.clock import iso
from models.platform.database import transaction
from models.platform.ids import parse_uuid
from workers.jobs import MAIL_CONTACT, enqueue

HELP = "List messages of the contact form, read, assign, close, reopen and erase them."
ON_ONE = {
    "show": "a message with its text",
    "assign": "give it to somebody",
    "close": "nothing is left to be done about it",
    "reopen": "open it again; one that was taken for a robot's is mailed",
    "erase": "delete it for good",
}


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="|".join(["list", *ON_ONE, "erase-all"]))
    listed = actions.add_parser("list", help="the newest first")
    listed.add_argument("--is", dest="state", choices=STATES)
    listed.add_argument("--email", help="of the sender")
    listed.add_argument("--assignee")
    listed.add_argument("--limit", type=int, default=50)
    for name, text in ON_ONE.items():
        one = actions.add_parser(name, help=text)
        one.add_argument("message", help="its id, which is the reference that the sender was told")
        if name == "assign":
            one.add_argument("assignee", help="a name or an address")
            one.add_argument("--take-over", action="store_true", help="also from somebody else")
    everything = actions.add_parser("erase-all", help="delete all messages of an address for good")
    everything.add_argument("email")


def run(args: argparse.Namespace) -> int:
    if args.action == "list":
        return _list(args)
    if args.action == "erase-all":
        with transaction():
            print(f"Erased: {ContactMessage.erase_all_of(actor(), args.email)}")
        return 0
    return _on_one(args, _id(args.message))


def _list(args: argparse.Namespace) -> int:
    wanted = listing.Filter(args.state, args.email, args.assignee)
    for row in listing.page(wanted, max(1, args.limit)).items:
        fields = (row.id, iso(row.created_at), f"{row.state:10}", row.email, row.topic or "-", row.assignee or "")
        print("  ".join(map(str, fields)).rstrip())
    return 0


def _on_one(args: argparse.Namespace, message_id: UUID) -> int:
    by = actor()
    if args.action == "show":
        return _show(ContactMessage.find(message_id))
    with transaction():
        if args.action == "assign":
            ContactMessage.assign(by, message_id, args.assignee, take_over=args.take_over)
        elif args.action == "close":
            ContactMessage.close(by, message_id)
        elif args.action == "erase":
            ContactMessage.erase(by, message_id)
        else:
            _reopen(message_id)
    print("Done.")
    return 0


def _reopen(message_id: UUID) -> None:
    row, is_new = ContactMessage.reopen(actor(), message_id)
    for address in recipients() if is_new else ():
        enqueue(MAIL_CONTACT, message_id=str(row.id), to=address)


def _show(row: ContactMessage) -> int:
    names = (
        "id",
        "created_at",
        "state",
        "assignee",
        "email",
        "name",
        "company",
        "topic",
        "ip",
        "user_agent",
        "mailed_at",
    )
    for name in names:
        value = getattr(row, name)
        print(f"{name + ':':12} {'-' if value is None else iso(value) if name.endswith('_at') else value}")
    print(f"\n{row.message}")
    return 0


def _id(text: str) -> UUID:
    found = parse_uuid(text)
    if found is None:
        raise CommandFailed("A message's id is a UUID.")
    return found
