"""Stripe's products, prices and meters, from the plan file."""

import argparse

from models.billing.plan_file import plan_file
from models.commands import CommandFailed, actor
from models.platform.database import database
from models.platform.locks import session_lock
from models.platform.settings import settings
from workers.billing.plan_sync import PLAN_SYNC, PlanSync

HELP = "Bring Stripe's products, prices and meters, and the database's plans, in line with the plan file."


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="sync")
    sync = actions.add_parser("sync", help="make, change and archive what differs from the plan file")
    sync.add_argument("--dry-run", action="store_true", help="only print what differs")
    sync.add_argument("--prune", action="store_true", help="archive what the file does not have any more")


def run(args: argparse.Namespace) -> int:
    if not settings.enable_billing:
        raise CommandFailed("ENABLE_BILLING is off: plans are brought in line by `python -m models migrate up`.")
    sync = PlanSync(plan_file(), by=None if args.dry_run else actor(), prune=args.prune)
    with database.connection_context(), session_lock(PLAN_SYNC):
        lines = sync.run()
    print("\n".join(lines) or "Stripe and the database are in line with the plan file.")
    if lines and args.dry_run:
        print("Nothing was changed.")
    return 0
