"""Lock users out, and let them in again."""

import argparse

from models.auth.users import User
from models.commands import CommandFailed, actor
from models.platform.database import database, transaction

HELP = "Disable a user, whose sessions end at once, or enable them again."


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="disable|enable")
    for name, text in (("disable", "end the user's sessions and refuse new ones"), ("enable", "let the user sign in")):
        action = actions.add_parser(name, help=text)
        action.add_argument("email")
        action.add_argument("--reason", required=True, help="for the audit log")


def run(args: argparse.Namespace) -> int:
    with database.connection_context(), transaction():
        user = find_user(args.email)
        change = user.disable if args.action == "disable" else user.enable
        change(by=actor(), reason=args.reason)
    print(f"{user.email} is {user.status}.")
    return 0


def find_user(email: str) -> User:
    """Raises CommandFailed."""
    user = User.by_email(email)
    if user is None:
        raise CommandFailed(f"No account exists for {email}.")
    return user
