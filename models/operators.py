"""The platform's own operators, and `python -m models.operators`: the way to make the first one."""

import argparse
import getpass
import json
import sys
from typing import Any
from uuid import UUID

from peewee import CharField, ForeignKeyField

from models import audit, passwords
from models.accounts import Tenant, User
from models.base import Model, database, transaction
from models.errors import BadRequest, DomainError, NotFound
from models.principal import ANY_SCOPE, OPERATOR
from models.sessions import Session

GRANTABLE = (*OPERATOR, ANY_SCOPE)


class OperatorUnknown(NotFound):
    code = "operator_unknown"


class NoTerminal(BadRequest):
    message = "There is no terminal to ask for the password: pipe it in, with --password-stdin."


class OperatorGrant(Model):
    """A scope that a user holds beside those of the membership, in whatever tenant they sign in to."""

    user = ForeignKeyField(User, on_delete="CASCADE", lazy_load=False)
    scope = CharField()


def scopes_of(user_id: UUID) -> list[str]:
    return [row.scope for row in OperatorGrant.select(OperatorGrant.scope).where(OperatorGrant.user == user_id)]


def everybody(scope: str | None = None) -> list[User]:
    """The operators, or those of them who hold a scope; each user has its `scopes`, sorted."""
    held: dict[UUID, list[str]] = {}
    for row in OperatorGrant.select():
        held.setdefault(row.user_id, []).append(row.scope)
    users = User.select().where(User.id.in_(list(held))).order_by(User.email)
    for user in users:
        user.scopes = sorted(held[user.id])
    return [user for user in users if scope is None or scope in user.scopes or ANY_SCOPE in user.scopes]


def grant(email: str, scopes: list[str], *, by: str) -> User:
    """Give a user operator scopes; they have them from their next sign-in or refresh on."""
    with transaction():
        user = _known(email)
        rows = [{"user": user.id, "scope": scope} for scope in scopes]
        OperatorGrant.insert_many(rows).on_conflict_ignore().execute()
        audit.record("operator.granted", by, f"user:{user.id}", scopes=sorted(scopes))
    return user


def revoke(email: str, scopes: list[str], *, by: str) -> User:
    """Take operator scopes away. The user's sessions end: their tokens still name them."""
    with transaction():
        user = _known(email)
        gone = (OperatorGrant.user == user.id) & OperatorGrant.scope.in_(scopes)
        if not OperatorGrant.delete().where(gone).execute():
            raise OperatorUnknown(f"{user.email} does not hold {', '.join(scopes)}.")
        Session.revoke(Session.user == user.id, "operator_revoked")
        audit.record("operator.revoked", by, f"user:{user.id}", scopes=sorted(scopes))
    return user


def create(email: str, password: str, tenant_name: str, *, by: str) -> User:
    """The first account of a new installation: the verified owner of a tenant of its own."""
    chosen = passwords.choose(password, email)
    with transaction():
        tenant = Tenant.open(tenant_name)
        user = User.add(email, chosen, tenant=tenant, role="owner", verified=True)
        audit.record("operator.account_created", by, f"user:{user.id}", tenant_id=tenant.id)
    return user


def _known(email: str) -> User:
    user = User.by_email(email)
    if user is None:
        raise OperatorUnknown(f"There is no account of {email}. Make one with: create {email}")
    return user


def main(argv: list[str] | None = None, prog: str = "python -m models.operators") -> int:
    args = _parser(prog).parse_args(argv)
    try:
        with database.connection_context():
            return _COMMANDS[args.command](args)
    except DomainError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 2


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description="Who may operate the platform itself, across all tenants.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    commands.add_parser("list", help="the operators and their scopes").add_argument("--json", action="store_true")
    made = commands.add_parser(
        "create", help="make an account with a tenant of its own, and grant it the operator scopes"
    )
    made.add_argument("email")
    made.add_argument("--tenant", default="Operations", help="name of the new tenant (default: Operations)")
    made.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    for name, text in (
        ("grant", "make a user an operator"),
        ("revoke", "take operator scopes away, and end the sessions"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("email")
        command.add_argument(
            "--scope",
            action="append",
            choices=GRANTABLE,
            help=f"one of {', '.join(GRANTABLE)}; may be repeated (default: {'all' if name == 'revoke' else 'all but support:*'})",
        )
    return parser


def _list(args: argparse.Namespace) -> int:
    found: list[dict[str, Any]] = [{"email": user.email, "scopes": user.scopes} for user in everybody()]
    if args.json:
        print(json.dumps(found))
    else:
        print("\n".join(f"{one['email']}  {' '.join(one['scopes'])}" for one in found) or "There are no operators.")
    return 0


def _create(args: argparse.Namespace) -> int:
    if not args.password_stdin and not sys.stdin.isatty():
        raise NoTerminal()
    password = sys.stdin.readline().rstrip("\n") if args.password_stdin else getpass.getpass("Password: ")
    with transaction():
        user = create(args.email, password, args.tenant, by=_me())
        grant(user.email, list(OPERATOR), by=_me())
    print(f"{user.email} is an operator and can sign in.")
    return 0


def _grant(args: argparse.Namespace) -> int:
    user = grant(args.email, args.scope or list(OPERATOR), by=_me())
    print(f"{user.email} holds {' '.join(sorted(scopes_of(user.id)))} from the next sign-in on.")
    return 0


def _revoke(args: argparse.Namespace) -> int:
    user = revoke(args.email, args.scope or list(GRANTABLE), by=_me())
    print(f"{user.email} holds {' '.join(sorted(scopes_of(user.id))) or 'no operator scope'}; all sessions were ended.")
    return 0


def _me() -> str:
    try:
        return f"operator:{getpass.getuser()}"
    except (KeyError, OSError):  # a container's user may have no name
        return "operator:cli"


_COMMANDS = {"list": _list, "create": _create, "grant": _grant, "revoke": _revoke}

if __name__ == "__main__":
    sys.exit(main())
