"""What we made at the provider and nobody knows any more."""

import argparse

from workers.vector_stores import reconciliation

HELP = "Find stores and files that we made at the provider and that belong to nothing here, and remove them."


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="only print them")


def run(args: argparse.Namespace) -> int:
    """Exit status 1 if something was found and not removed."""
    found = reconciliation.find()
    for kind, ids in (("vector store", found.stores), ("file", found.files)):
        for provider_id in ids:
            print(f"{kind}  {provider_id}")
    if found.is_clean:
        print("Nothing.")
        return 0
    if not args.dry_run:
        reconciliation.remove(found)
    return int(args.dry_run)
