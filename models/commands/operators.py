"""Say who may operate the platform."""

import argparse
import getpass
import json
import sys

from models.auth import operators
from models.auth.operators import GRANTABLE
from models.commands import CommandFailed
from models.platform.database import database, transaction
from models.platform.principal import OPERATOR

HELP = "List, create, grant and revoke the platform's own operators, who act across all tenants."


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|create|grant|revoke")
    actions.add_parser("list", help="the operators and their scopes").add_argument("--json", action="store_true")
    creating = actions.add_parser("create", help="create an account with a tenant of its own, and make it an operator")
    creating.add_argument("email")
    creating.add_argument("--tenant", default="Operations", help="name of the new tenant (default: Operations)")
    creating.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    _add_scopes(actions.add_parser("grant", help="make a user an operator"), "all but support:*")
    _add_scopes(actions.add_parser("revoke", help="take operator scopes away, and end the user's sessions"), "all")


def _add_scopes(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument("email")
    text = f"one of {', '.join(GRANTABLE)}; may be repeated (default: {default})"
    parser.add_argument("--scope", action="append", choices=GRANTABLE, help=text)


def run(args: argparse.Namespace) -> int:
    with database.connection_context():
        match args.action:
            case "list":
                _list(args.json)
            case "create":
                _create(args.email, args.tenant, _password(args.password_stdin))
            case "grant":
                _grant(args.email, args.scope or list(OPERATOR))
            case "revoke":
                _revoke(args.email, args.scope or list(GRANTABLE))
    return 0


def _list(as_json: bool) -> None:
    rows = [{"email": user.email, "scopes": user.scopes} for user in operators.everybody()]
    if as_json:
        print(json.dumps(rows))
    else:
        print("\n".join(f"{row['email']}  {' '.join(row['scopes'])}" for row in rows) or "There are no operators.")


def _password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\n")
    if not sys.stdin.isatty():
        raise CommandFailed("There is no terminal to ask for the password: pipe it in, with --password-stdin.")
    return getpass.getpass("Password: ")


def _create(email: str, tenant: str, password: str) -> None:
    with transaction():
        user = operators.create(email, password, tenant, by=_actor())
        operators.grant(user.email, list(OPERATOR), by=_actor())
    print(f"{user.email} is an operator and can sign in.")


def _grant(email: str, scopes: list[str]) -> None:
    user = operators.grant(email, scopes, by=_actor())
    print(f"{user.email} has {' '.join(sorted(operators.scopes_of(user.id)))} from the next sign-in on.")


def _revoke(email: str, scopes: list[str]) -> None:
    user = operators.revoke(email, scopes, by=_actor())
    left = " ".join(sorted(operators.scopes_of(user.id))) or "no operator scope"
    print(f"{user.email} has {left}; all sessions were ended.")


def _actor() -> str:
    try:
        return f"operator:{getpass.getuser()}"
    except (KeyError, OSError):  # a container's user may have no name
        return "operator:cli"
