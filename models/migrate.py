"""`python -m models.migrate up|down|status`: the release process. One at a time, by an advisory lock."""

import argparse
import sys
from pathlib import Path

from playhouse.migrations import MigrationError, Runner

from models.base import database

DIRECTORY = Path(__file__).parent / "migrations"
LOCK = 7_251_001  # any number that no other advisory lock of ours uses


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m models.migrate", description="Bring the database schema up to date."
    )
    parser.add_argument("command", choices=["up", "down", "status"])
    parser.add_argument("target", nargs="?", help="stop after this migration (default: all for up, one for down)")
    args = parser.parse_args(argv)
    runner = Runner(database, str(DIRECTORY))
    with database.connection_context():
        database.execute_sql("select pg_advisory_lock(%s)", (LOCK,))
        try:
            if args.command == "status":
                return _status(runner)
            names = runner.up(args.target) if args.command == "up" else runner.down(args.target)
            print("\n".join(f"{args.command}: {name}" for name in names) or "The schema is up to date.")
        except MigrationError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        finally:
            database.execute_sql("select pg_advisory_unlock(%s)", (LOCK,))
    return 0


def _status(runner: Runner) -> int:
    rows = runner.status()
    for row in rows:
        print(f"{'applied' if row.applied else 'pending'}  {row.name}")
    return int(any(not row.applied for row in rows))


if __name__ == "__main__":
    sys.exit(main())
