"""Which calls of tools a tenant wants approved."""

import argparse

from models.commands import CommandFailed, actor
from models.commands.members import find_tenant
from models.platform.database import database, transaction
from models.runs import tool_policy

HELP = "List, set and clear a tenant's rules about tools whose calls have to be approved by a person."


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|set|clear")
    actions.add_parser("list", help="show the rules of a tenant").add_argument("tenant", help="the tenant's slug or id")
    rule = _add_arguments(actions.add_parser("set", help="have the calls of a tool approved"))
    rule.add_argument("rule", choices=tool_policy.RULES, help="always: by anybody who may; admin: by another admin")
    _add_arguments(actions.add_parser("clear", help="back to what the tool itself asks for"))


def _add_arguments(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("tenant", help="the tenant's slug or id")
    parser.add_argument("tool", help="the tool's name, such as get_current_time")
    parser.add_argument("--reason", required=True, help="for the audit log")
    return parser


def run(args: argparse.Namespace) -> int:
    with database.connection_context(), transaction():
        tenant = find_tenant(args.tenant)
        if args.action == "list":
            rules = tool_policy.of_tenant(tenant.id)
            print("\n".join(f"{tool}  {rule}" for tool, rule in rules.items()) or "There are no rules.")
        elif args.action == "set":
            tool_policy.set_rule(tenant.id, args.tool, args.rule, by=actor(), reason=args.reason)
            print(f"Calls of {args.tool} that run here wait for approval in {tenant.slug}: {args.rule}.")
            print(
                "Rules do nothing about tools that a model's provider runs, and nobody checks that there is such a tool."
            )
        elif tool_policy.clear_rule(tenant.id, args.tool, by=actor(), reason=args.reason):
            print(f"{args.tool} has no rule in {tenant.slug} any more.")
        else:
            raise CommandFailed(f"{args.tool} has no rule in {tenant.slug}.")
    return 0
