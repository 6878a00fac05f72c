"""Commands for operators: `python -m models <command>`, one module each."""

import argparse
import getpass
import importlib
import sys
from collections.abc import Sequence

from models.platform.errors import DomainError
from models.platform.principal import Root
from models.runs import progress

NAMES = (
    "alive",
    "check",
    "migrate",
    "keys",
    "operators",
    "users",
    "members",
    "plans",
    "tools",
    "audit",
    "breached-passwords",
)

WRITE_SECONDS = 2  # for what a command tells Redis, such as that a tenant's numbers have changed


class CommandFailed(Exception):
    """The command prints the message after `error:` and exits with 2."""


def main(argv: Sequence[str] | None = None, prog: str = "python -m models") -> int:
    """Run one of these commands, and return its exit status as `run` does."""
    return run(argv, prog, "models.commands", NAMES)


def run(argv: Sequence[str] | None, prog: str, package: str, names: Sequence[str]) -> int:
    """Run one command and return its exit status: 0 for done, 1 as the command says, 2 for an error that was printed.

    Each name is a module of the package with HELP, `configure(parser)` and `run(args)`.
    """
    args = _parser(prog, package, names).parse_args(argv)
    try:
        return int(args.run(args))
    except (CommandFailed, DomainError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    finally:
        progress.writer.flush(WRITE_SECONDS)


def actor() -> Root:
    """Who runs the command. A shell is a root of trust: whoever can start one here could as well write to the database."""
    try:
        return Root(f"operator:{getpass.getuser()}")
    except (KeyError, OSError):  # the user of a container may have no name
        return Root("operator:cli")


def _parser(prog: str, package: str, names: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description="Operate an installation from a shell.")
    commands = parser.add_subparsers(required=True, metavar="command")
    for name in names:
        module = importlib.import_module(f"{package}.{name.replace('-', '_')}")
        command = commands.add_parser(name, help=module.HELP, description=module.HELP)
        module.configure(command)
        command.set_defaults(run=module.run)
    return parser
