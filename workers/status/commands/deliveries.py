"""Alerts: how far fan-outs are, what became of deliveries, and sending some again."""

import argparse
from collections.abc import Sequence

from models.commands import CommandFailed, actor
from models.platform.client_info import UNKNOWN_CLIENT
from models.platform.clock import iso
from models.platform.database import database, transaction
from models.platform.ids import parse_uuid
from models.status import fanouts, redelivery
from models.status.deliveries import GIVEN_UP
from workers.jobs import STATUS_FAN_OUT, enqueue

HELP = "Show fan-outs and deliveries of alerts, and have deliveries sent again."
STATES, CHANNELS = ("pending", "delivered", "given_up", "skipped"), ("email", "webhook", "slack")


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="fan-outs|list|redeliver")
    fan_outs = actions.add_parser("fan-outs", help="the newest fan-outs, with their deliveries by state")
    fan_outs.add_argument("--incident", help="only those of this incident")
    listing = actions.add_parser("list", help="the newest deliveries")
    listing.add_argument("--incident", help="only those of this incident")
    listing.add_argument("--is", dest="state", choices=STATES)
    listing.add_argument("--channel", choices=CHANNELS)
    for each in (fan_outs, listing):
        each.add_argument("--limit", type=int, default=20)
    again = actions.add_parser("redeliver", help="send deliveries again, whatever became of them")
    again.add_argument("delivery", nargs="*", help="ids")
    again.add_argument(
        "--given-up-of", metavar="INCIDENT", help="all of this incident that were given up, 1,000 at most"
    )


def run(args: argparse.Namespace) -> int:
    with database.connection_context():
        match args.action:
            case "fan-outs":
                return _fan_outs(args)
            case "list":
                return _list(args)
            case _:
                return _redeliver(args)


def _fan_outs(args: argparse.Namespace) -> int:
    page = redelivery.fanouts_page(args.incident, args.limit, None)
    counts = fanouts.counts([item.id for item in page.items])
    for item in page.items:
        states = "  ".join(f"{state} {count}" for state, count in sorted(counts[item.id].items()))
        print(f"{item.id}  {iso(item.created_at)[:16]}Z  {item.kind:7} {item.incident_id}  {item.scope}  {states}")
    return 0


def _list(args: argparse.Namespace) -> int:
    wanted = redelivery.Filter(incident_id=args.incident, state=args.state, channel=args.channel)
    for item in redelivery.deliveries_page(wanted, args.limit, None).items:
        said = " ".join(str(part) for part in (item.status_code, item.error) if part)
        print(
            f"{item.id}  {item.incident_id}  {item.channel:8} {item.target}  {item.state} ({item.attempts})  {said}".rstrip()
        )
    return 0


def _redeliver(args: argparse.Namespace) -> int:
    names: Sequence[object] = args.delivery
    if args.given_up_of:
        wanted = redelivery.Filter(incident_id=args.given_up_of, state=GIVEN_UP)
        names = [*names, *(item.id for item in redelivery.deliveries_page(wanted, 1000, None).items)]
    if not names:
        raise CommandFailed("There is no such delivery: name some, or an incident with --given-up-of.")
    count = 0
    for name in names:
        delivery_id = parse_uuid(name)
        if delivery_id is None:
            raise CommandFailed(f"{name} is no id of a delivery.")
        try:
            with transaction():
                row = redelivery.redeliver(actor(), delivery_id, UNKNOWN_CLIENT)
                enqueue(STATUS_FAN_OUT, fanout_id=str(row.fanout_id))
            count += 1
        except redelivery.SubscriptionNotActive as error:
            print(f"{name}: {error.message}")
    print(f"{count} of {len(names)} will be sent again.")
    return 0
