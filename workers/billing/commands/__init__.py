"""Commands for operators of billing, those that need Stripe or jobs: `python -m workers.billing <command>`, one module each."""

import sys
from collections.abc import Sequence

from models.commands import run
from workers.gateways.stripe import ProviderError

NAMES = ("plans", "events", "operations", "usage", "reconcile")


def main(argv: Sequence[str] | None = None, prog: str = "python -m workers.billing") -> int:
    """Run one of these commands. Exit status 2 for an error that was printed, also one of Stripe."""
    try:
        return run(argv, prog, "workers.billing.commands", NAMES)
    except ProviderError as error:
        print(f"error: Stripe: {error}", file=sys.stderr)
        return 2
