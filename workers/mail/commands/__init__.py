"""Commands for operators of mail: `python -m workers.mail <command>`, one module each."""

from collections.abc import Sequence

from models.commands import run

NAMES = ("suppressions", "test")


def main(argv: Sequence[str] | None = None, prog: str = "python -m workers.mail") -> int:
    """Run one of these commands. Exit status 2 for an error that was printed."""
    return run(argv, prog, "workers.mail.commands", NAMES)
