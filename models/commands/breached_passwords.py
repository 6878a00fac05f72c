"""Make the list of passwords that are refused because they are known from breaches."""

import argparse
from pathlib import Path

from models.auth import breached_passwords
from models.auth.breached_passwords import BreachListInvalid
from models.commands import CommandFailed

HELP = "Make the list of breached passwords that BREACH_LIST_PATH names."


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="build")
    build = actions.add_parser("build", help="make it from a download of lines SHA1:COUNT, in the order of the hashes")
    build.add_argument("download", type=Path, metavar="FILE")
    build.add_argument("--output", type=Path, default=Path("var/breached-passwords.bin"))
    build.add_argument("--minimum-count", type=int, default=1, help="leave out passwords that were seen less often")


def run(args: argparse.Namespace) -> int:
    try:
        with args.download.open(encoding="ascii") as lines:
            length = breached_passwords.build(lines, args.output, args.minimum_count)
    except (BreachListInvalid, OSError, UnicodeDecodeError) as error:
        raise CommandFailed(str(error)) from None
    print(f"{args.output}: {length:,} passwords, {args.output.stat().st_size:,} bytes")
    return 0
