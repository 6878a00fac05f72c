"""Bring the database schema up to date, and its plans in line with the plan file. An advisory lock lets one process at a
time do so."""

import argparse
from pathlib import Path

from playhouse.migrations import MigrationError, Runner

from models import platform
from models.billing.plan_file import plan_file
from models.billing.plan_tables import bring_in_line
from models.commands import CommandFailed, actor
from models.platform.database import database, transaction
from models.platform.locks import MIGRATIONS, session_lock
from models.platform.settings import settings
from models.platform.startup_checks import RELEASE, require_safe

HELP = "Bring the database schema and the plans up to date, revert migrations, or list them."
DIRECTORY = Path(platform.__file__).parent / "migrations"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=["up", "down", "status"])
    parser.add_argument("target", nargs="?", help="stop after this migration (default: all for up, one for down)")


def run(args: argparse.Namespace) -> int:
    require_safe(settings, RELEASE)
    is_whole = args.action == "up" and args.target is None
    plans = plan_file() if is_whole else None  # refused before anything is changed
    runner = Runner(database, str(DIRECTORY))
    with database.connection_context(), session_lock(MIGRATIONS):
        if args.action == "status":
            return _status(runner)
        try:
            names = runner.up(args.target) if args.action == "up" else runner.down(args.target)
        except MigrationError as error:
            raise CommandFailed(str(error)) from None
        print("\n".join(f"{args.action}: {name}" for name in names) or "The schema is up to date.")
        if plans is not None:
            with transaction():
                changes = bring_in_line(plans, by=actor())
            print("\n".join(f"plan {change}" for change in changes) or "The plans are up to date.")
    return 0


def _status(runner: Runner) -> int:
    rows = runner.status()
    for row in rows:
        print(f"{'applied' if row.applied else 'pending'}  {row.name}")
    return int(any(not row.applied for row in rows))
