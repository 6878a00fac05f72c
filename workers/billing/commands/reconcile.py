"""Our subscriptions against Stripe's."""

import argparse

from models.commands import CommandFailed
from models.commands.members import find_tenant
from models.platform.settings import settings
from workers.billing.reconciliation import Reconciliation

HELP = "Compare subscriptions and customers with Stripe's, and take over what was missed."


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tenant", help="only this one: its slug or id")
    wanted = parser.add_mutually_exclusive_group()
    wanted.add_argument("--fix", action="store_true", help="take over what was missed (the default)")
    wanted.add_argument("--dry-run", action="store_true", help="only print what differs")


def run(args: argparse.Namespace) -> int:
    """Exit status 1 if something differs that a person has to look at."""
    if not settings.enable_billing:
        raise CommandFailed("ENABLE_BILLING is off.")
    drifts = Reconciliation(find_tenant(args.tenant).id if args.tenant else None, mend=not args.dry_run).run()
    for drift in drifts:
        state = "mended" if drift.mended else "open"
        print(f"{state:6}  {drift.kind:24}  {drift.tenant_id or '-'!s:36}  {drift.thing}  {drift.reason}".rstrip())
    if not drifts:
        print("All is as Stripe says.")
    return int(any(not drift.mended for drift in drifts))
