"""Manage the platform's operators."""

import argparse
import getpass
import json
import sys

from models.auth import operators
from models.auth.operators import GRANTABLE, Operator
from models.auth.password_hashing import PasswordHasher
from models.commands import CommandFailed, actor
from models.platform.database import database, transaction
from models.platform.principal import OPERATOR

HELP = "List, create, grant and revoke operators, who act in all tenants."


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|create|grant|revoke")
    actions.add_parser("list", help="show the operators and their scopes").add_argument("--json", action="store_true")
    create = actions.add_parser("create", help="create an account with its own tenant, and make it an operator")
    create.add_argument("email")
    create.add_argument("--tenant", default="Operations", help="name of the new tenant (default: Operations)")
    create.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    _add_scopes(actions.add_parser("grant", help="make a user an operator"), "all but support:*")
    _add_scopes(actions.add_parser("revoke", help="take operator scopes away, at once"), "all")


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
    listed = operators.list_operators()
    if as_json:
        print(json.dumps([{"email": operator.user.email, "scopes": operator.scopes} for operator in listed]))
    else:
        print("\n".join(map(_as_line, listed)) or "There are no operators.")


def _as_line(operator: Operator) -> str:
    return f"{operator.user.email}  {' '.join(operator.scopes)}{'' if operator.is_effective else '  (without effect)'}"


def _password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\n")
    if not sys.stdin.isatty():
        raise CommandFailed("There is no terminal to ask for the password: pipe it in and use --password-stdin.")
    return getpass.getpass("Password: ")


def _create(email: str, tenant: str, password: str) -> None:
    with transaction():
        user = operators.create_account(email, password, tenant, by=actor(), hasher=PasswordHasher())
        operators.grant(user.email, list(OPERATOR), by=actor())
    print(f"{user.email} is an operator and can sign in.")


def _grant(email: str, scopes: list[str]) -> None:
    user = operators.grant(email, scopes, by=actor())
    print(f"{user.email} has {' '.join(sorted(operators.scopes_of(user.id)))}.")


def _revoke(email: str, scopes: list[str]) -> None:
    user = operators.revoke(email, scopes, by=actor())
    remaining = " ".join(sorted(operators.scopes_of(user.id))) or "no operator scope"
    print(f"{user.email} has {remaining}.")
