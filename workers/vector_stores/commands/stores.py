"""Vector stores of all tenants: listed, shown, and brought in line with the provider."""

import argparse
import json

from models.commands import CommandFailed
from models.commands.members import find_tenant
from models.platform.clock import iso_or_none
from models.platform.database import database
from models.platform.ids import parse_uuid
from models.vector_stores.files import VectorStoreFile
from models.vector_stores.stores import OPENAI, VectorStore
from workers.vector_stores.sync import sync

HELP = "Show vector stores, and have those at the provider compared with it."


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|show|sync")
    listing = actions.add_parser("list", help="the newest stores")
    listing.add_argument("--tenant", help="only this one's: its slug or id")
    listing.add_argument("--limit", type=int, default=50, help="number of stores (default: 50)")
    for name, text in (
        ("show", "one store with its files by state, as JSON"),
        ("sync", "ask the provider for one store now"),
    ):
        actions.add_parser(name, help=text).add_argument("store", help="id of the store")


def run(args: argparse.Namespace) -> int:
    if args.action == "sync":  # which gives its connection back itself
        return _sync(args)
    with database.connection_context():
        return _list(args) if args.action == "list" else _show(args)


def _list(args: argparse.Namespace) -> int:
    query = VectorStore.select().where(VectorStore.deleted_at.is_null())
    if args.tenant:
        query = query.where(VectorStore.tenant_id == find_tenant(args.tenant).id)
    for store in query.order_by(VectorStore.id.desc()).limit(max(1, args.limit)):
        size = f"{store.usage_bytes / 1e6:.1f} MB"
        print(f"{store.id}  {store.tenant_id}  {store.engine:8}  {store.shown_status:11}  {size:>10}  {store.name}")
    return 0


def _show(args: argparse.Namespace) -> int:
    store = _find(args.store)
    states: dict[str, int] = {}
    for file in VectorStoreFile.select(VectorStoreFile.status).where(
        (VectorStoreFile.vector_store_id == store.id) & VectorStoreFile.deleted_at.is_null()
    ):
        states[file.status] = states.get(file.status, 0) + 1
    shown = {
        "id": str(store.id),
        "tenant_id": str(store.tenant_id),
        "name": store.name,
        "engine": store.engine,
        "provider_id": store.provider_id,
        "status": store.shown_status,
        "usage_bytes": store.usage_bytes,
        "files": states,
        "embedding_model": store.embedding_model,
        "dimensions": store.dimensions,
        "last_active_at": iso_or_none(store.last_active_at),
        "expires_at": iso_or_none(store.expires_at),
        "next_sync_at": iso_or_none(store.next_sync_at),
        "sync_failures": store.sync_failures,
    }
    print(json.dumps(shown, indent=2))
    return 0


def _sync(args: argparse.Namespace) -> int:
    """Exit status 1 if the provider did not answer."""
    store = _find(args.store)
    if store.engine != OPENAI or store.provider_id is None:
        raise CommandFailed("This store is not at the provider.")
    sync(store)
    found = VectorStore.get_by_id(store.id)
    print(f"{found.id}  {found.shown_status}")
    return int(found.sync_failures > store.sync_failures)


def _find(text: str) -> VectorStore:
    store_id = parse_uuid(text)
    is_it = (VectorStore.id == store_id) & VectorStore.deleted_at.is_null()
    found: VectorStore | None = VectorStore.get_or_none(is_it) if store_id else None
    if found is None:
        raise CommandFailed("There is no such vector store.")
    return found
