"""The registry of files at the provider: which of them are whose."""

import argparse

from models.commands import CommandFailed, actor
from models.commands.members import find_tenant
from models.platform import audit
from models.platform.database import database, transaction
from models.vector_stores.files import ProviderFile
from workers.gateways.openai import NotThere, call

HELP = "Show which files at the provider belong to which tenant, and register one for a tenant."


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|register|forget")
    listing = actions.add_parser("list", help="the files that were registered last")
    listing.add_argument("--tenant", help="only this one's: its slug or id")
    listing.add_argument("--limit", type=int, default=50, help="number of files (default: 50)")
    register = actions.add_parser(
        "register", help="let a tenant attach a file that was uploaded to the provider elsewhere"
    )
    register.add_argument("tenant", help="its slug or id")
    register.add_argument("file", help="the provider's id of the file")
    actions.add_parser("forget", help="no tenant may attach it any more; it stays at the provider").add_argument("file")


def run(args: argparse.Namespace) -> int:
    if args.action == "register":
        return _register(args)
    with database.connection_context():
        return _list(args) if args.action == "list" else _forget(args)


def _list(args: argparse.Namespace) -> int:
    query = ProviderFile.select()
    if args.tenant:
        query = query.where(ProviderFile.tenant_id == find_tenant(args.tenant).id)
    for file in query.order_by(ProviderFile.id.desc()).limit(max(1, args.limit)):
        print(f"{file.provider_file_id}  {file.tenant_id}  {file.object_id or '-'!s:36}  {file.filename}")
    return 0


def _register(args: argparse.Namespace) -> int:
    try:
        file = call("files.retrieve", lambda client: client.files.retrieve(args.file))
    except NotThere:
        raise CommandFailed("The provider does not have this file.") from None
    with database.connection_context(), transaction():
        tenant = find_tenant(args.tenant)
        added = ProviderFile.insert_if_new(
            tenant_id=tenant.id, provider_file_id=file.id, filename=file.filename[:256], size_bytes=file.bytes
        )
        if added is None:
            raise CommandFailed(
                "This file is registered already. Another tenant can only have it after `files forget`."
            )
        audit.record("provider_file.registered", actor(), f"provider_file:{file.id}", tenant_id=tenant.id)
    print(f"{file.id} belongs to {tenant.slug}.")
    return 0


def _forget(args: argparse.Namespace) -> int:
    with transaction():
        found = ProviderFile.get_or_none(ProviderFile.provider_file_id == args.file)
        if found is None:
            raise CommandFailed("This file is not registered.")
        found.delete_instance()
        audit.record("provider_file.forgotten", actor(), f"provider_file:{args.file}", tenant_id=found.tenant_id)
    print(f"{args.file} belongs to nobody.")
    return 0
