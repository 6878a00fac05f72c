"""Commands for operators of the status: `python -m workers.status <command>`, one module each."""

from collections.abc import Sequence

from models.commands import run

NAMES = ("deliveries", "incidents", "probes", "subscriptions")


def main(argv: Sequence[str] | None = None, prog: str = "python -m workers.status") -> int:
    """Run one of these commands. Exit status 2 for an error that was printed."""
    return run(argv, prog, "workers.status.commands", NAMES)
