"""Sign users out, lock them out, and let them in again."""

import argparse

from models.auth.users import User
from models.commands import CommandFailed, actor
from models.platform.database import database, transaction

HELP = "Disable a user, whose sessions end at once, enable them again, or only end their sessions."
ACTIONS = {
    "disable": "end the user's sessions and refuse new ones",
    "enable": "let a disabled user sign in again",
    "sign-out": "end the user's sessions",
}


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="disable|enable|sign-out")
    for name, text in ACTIONS.items():
        action = actions.add_parser(name, help=text)
        action.add_argument("email")
        action.add_argument("--reason", required=True, help="for the audit log")


def run(args: argparse.Namespace) -> int:
    with database.connection_context(), transaction():
        user = find_user(args.email)
        change = {"disable": user.disable, "enable": user.enable, "sign-out": user.sign_out}[args.action]
        change(by=actor(), reason=args.reason)
    print(f"{user.email} is {user.status}{' and signed out' if args.action == 'sign-out' else ''}.")
    return 0


def find_user(email: str) -> User:
    """Raises CommandFailed."""
    user = User.by_email(email)
    if user is None:
        raise CommandFailed(f"No account exists for {email}.")
    return user
