"""Commands for operators of the object storage: `python -m workers.storage <command>`, one module each."""

from collections.abc import Sequence

from models.commands import run

NAMES = ("reconcile", "cors")


def main(argv: Sequence[str] | None = None, prog: str = "python -m workers.storage") -> int:
    return run(argv, prog, "workers.storage.commands", NAMES)
