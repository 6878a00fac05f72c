"""Commands for operators of the contact form: `python -m workers.contact <command>`, one module each."""

from collections.abc import Sequence

from models.commands import run

NAMES = ("messages",)


def main(argv: Sequence[str] | None = None, prog: str = "python -m workers.contact") -> int:
    """Run one of these commands. Exit status 2 for an error that was printed."""
    return run(argv, prog, "workers.contact.commands", NAMES)
