"""Commands for operators of vector stores: `python -m workers.vector_stores <command>`, one module each."""

from collections.abc import Sequence

from models.commands import run

NAMES = ("stores", "files", "reconcile")


def main(argv: Sequence[str] | None = None, prog: str = "python -m workers.vector_stores") -> int:
    """Run one of these commands. Exit status 2 for an error that was printed, also one of the provider."""
    return run(argv, prog, "workers.vector_stores.commands", NAMES)
