"""The members of tenants, and their roles."""

import argparse

from models.auth.tenants import Tenant
from models.auth.users import Membership
from models.commands import CommandFailed, actor
from models.commands.users import find_user
from models.platform.database import database, transaction
from models.platform.ids import parse_uuid
from models.platform.principal import RANK

HELP = "Add and remove the members of a tenant, or change their roles. Changes count at once."


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="add|change-role|remove")
    for name, text in (("add", "make a user a member"), ("change-role", "give a member another role")):
        _add_arguments(actions.add_parser(name, help=text), with_role=True)
    _add_arguments(actions.add_parser("remove", help="end a membership and its sessions"), with_role=False)


def _add_arguments(parser: argparse.ArgumentParser, *, with_role: bool) -> None:
    parser.add_argument("tenant", help="the tenant's slug or id")
    parser.add_argument("email")
    if with_role:
        parser.add_argument("role", choices=list(RANK))
    parser.add_argument("--reason", required=True, help="for the audit log")


def run(args: argparse.Namespace) -> int:
    with database.connection_context(), transaction():
        tenant, user = find_tenant(args.tenant), find_user(args.email)
        if args.action == "add":
            Membership.add(user.id, tenant.id, args.role, by=actor(), reason=args.reason)
        elif args.action == "change-role":
            Membership.in_tenant(user.id, tenant.id).change_role(args.role, by=actor(), reason=args.reason)
        else:
            Membership.in_tenant(user.id, tenant.id).remove(by=actor(), reason=args.reason)
    print(f"{user.email} is {'no member' if args.action == 'remove' else args.role} of {tenant.slug}.")
    return 0


def find_tenant(name: str) -> Tenant:
    """The tenant with this slug or id. CommandFailed."""
    tenant = Tenant.get_or_none((Tenant.slug == name) | (Tenant.id == parse_uuid(name)))
    if tenant is None:
        raise CommandFailed(f"No tenant has the slug or id {name}.")
    return tenant
