"""Our objects against what the storage has."""

import argparse

from workers.storage.reconciliation import Reconciliation

HELP = "Compare objects with the storage, both ways, and remove what belongs to nothing."


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="only print what differs")


def run(args: argparse.Namespace) -> int:
    """Exit status 1 if something differs that a person has to look at."""
    findings = Reconciliation(mend=not args.dry_run).run()
    for found in findings:
        state = "mended" if found.mended else "open"
        print(f"{state:6}  {found.kind:14}  {found.bucket}  {found.thing}".rstrip())
    if not findings:
        print("The storage has what the database says, and nothing else.")
    return int(any(not found.mended for found in findings))
