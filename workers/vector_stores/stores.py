"""Making stores at the provider, removing what deleted ones leave behind, and the end of those whose time is over."""

import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from models.platform import audit
from models.platform.clock import now
from models.platform.database import in_transaction, release, transaction
from models.platform.ids import parse_uuid
from models.platform.settings import settings
from models.vector_stores import keeping, metrics
from models.vector_stores.removal import remove_store as remove_chunks
from models.vector_stores.stores import CREATING, EXPIRED, FAILED, PGVECTOR, VectorStore
from workers.gateways import openai_vector_stores as provider
from workers.gateways.openai import ProviderError, ProviderRejected
from workers.jobs import (
    VECTOR_STORE_CREATE,
    VECTOR_STORE_CREATE_FAIL,
    VECTOR_STORE_EXPIRE,
    VECTOR_STORE_REMOVE,
    enqueue,
)
from workers.runtime import Lease, actor

if TYPE_CHECKING:
    from workers.gateways.openai_vector_stores import Remote

log = logging.getLogger(__name__)
DUE = """
select {{columns}} from vector_store where {due} and deleted_at is null limit 200 for no key update skip locked"""
OVER = "expires_at <= now() and status <> 'expired' and engine = 'pgvector'"  # of the others the provider says it
STOPPING_SECONDS = 0.5  # between two looks whether all runs have stopped
SYSTEM = "system:vector_stores"  # the actor of audit events


@actor(VECTOR_STORE_CREATE)
def create_store(lease: Lease) -> None:
    """Make the store at the provider. A job that runs again looks first whether it did so already."""
    store = store_of(lease)
    is_first = lease.job.epoch == 1
    if store is None or store.deleted_at is not None or store.status != CREATING:
        if store is None or store.provider_id is None:
            _clear(lease, is_first=is_first)
        return
    try:
        remote = (None if is_first else provider.find(store.id)) or provider.make(store)
    except ProviderRejected as error:
        _give_up(lease, store, error)
        return
    if not _adopt(lease, store, remote):
        provider.remove(remote.id)


@actor(VECTOR_STORE_CREATE_FAIL)
def fail_store(lease: Lease) -> None:
    """No attempt is left. An answer may have been lost: a store that is there after all is used."""
    store = store_of(lease)
    if store is None or store.deleted_at is not None or store.status != CREATING:
        return
    try:
        remote = provider.find(store.id)
    except ProviderError as error:
        _give_up(lease, store, error)
        return
    if remote is None:
        _give_up(lease, store, None)
    elif not _adopt(lease, store, remote):
        provider.remove(remote.id)


@actor(VECTOR_STORE_REMOVE)
def remove_store(lease: Lease) -> None:
    """Stop what indexes the store's files, and remove what it consists of."""
    store = store_of(lease)
    if store is None or store.deleted_at is None:
        return
    while keeping.stop_runs(store.id):
        release()
        with lease.interruptible():
            time.sleep(STOPPING_SECONDS)  # their workers see it within a heartbeat
    if store.engine == PGVECTOR:
        remove_chunks(store.id)
    elif store.provider_id:
        provider.remove(store.provider_id)
    elif remote := provider.find(store.id):
        provider.remove(remote.id)


@actor(VECTOR_STORE_EXPIRE)
def expire_stores(lease: Lease) -> None:
    """Write down which stores have expired; with AUTO_PURGE_EXPIRED_VECTOR_STORES delete them, at the latest the next time."""
    with metrics.OPERATIONS.counted("expire"):
        while _expire_some():
            lease.checkpoint()
        while settings.auto_purge_expired_vector_stores and _purge_some():
            lease.checkpoint()


def _expire_some() -> int:
    with transaction():
        ids = [store.id for store in VectorStore.all(DUE.format(due=OVER))]
        if ids:
            VectorStore.update(status=EXPIRED, updated_at=now()).where(VectorStore.id.in_(ids)).execute()
    return len(ids)


def _purge_some() -> int:
    with transaction():
        stores = VectorStore.all(DUE.format(due="status = 'expired'"))
        for store in stores:
            purge(store, "It had expired.")
    return len(stores)


@in_transaction
def purge(store: VectorStore, reason: str) -> None:
    """Delete a store because of its age, or because it is gone at the provider."""
    if keeping.remove(store):
        subject = f"vector_store:{store.id}"
        audit.record("vector_store.deleted", SYSTEM, subject, tenant_id=store.tenant_id, reason=reason)
        enqueue(VECTOR_STORE_REMOVE, tenant_id=store.tenant_id, store_id=str(store.id))


def store_of(lease: Lease) -> VectorStore | None:
    """The store that the job is about, deleted or not; None if its tenant is gone."""
    found: VectorStore | None = VectorStore.get_or_none(VectorStore.id == parse_uuid(lease.job.args["store_id"]))
    release()
    return found


def _adopt(lease: Lease, store: VectorStore, remote: "Remote") -> bool:
    """The store is the one at the provider. False if it was deleted meanwhile."""
    with transaction():
        lease.job.finish()
        is_waiting = (VectorStore.status == CREATING) & VectorStore.deleted_at.is_null()
        return bool(
            VectorStore.update(provider_id=remote.id, next_sync_at=now(), updated_at=now(), **state_of(remote))
            .where((VectorStore.id == store.id) & is_waiting)
            .execute()
        )


def state_of(remote: "Remote") -> dict[str, object]:
    """The columns that the provider decides. It counts seconds since 1970."""
    columns: dict[str, object] = {"status": remote.status, "usage_bytes": remote.usage_bytes}
    if remote.last_active_at is not None:
        columns["last_active_at"] = datetime.fromtimestamp(remote.last_active_at, UTC)
    columns["expires_at"] = None if remote.expires_at is None else datetime.fromtimestamp(remote.expires_at, UTC)
    return columns


def _clear(lease: Lease, *, is_first: bool) -> None:
    """The store was deleted before it was made; an earlier attempt may have made it."""
    store_id = parse_uuid(lease.job.args["store_id"])
    if not is_first and store_id and (remote := provider.find(store_id)):
        provider.remove(remote.id)


def _give_up(lease: Lease, store: VectorStore, error: ProviderError | None) -> None:
    with transaction():
        lease.job.finish()
        is_waiting = (VectorStore.id == store.id) & (VectorStore.status == CREATING)
        VectorStore.update(status=FAILED, updated_at=now()).where(is_waiting).execute()
    metrics.OPERATIONS.done("create", error.code if error else "error", (now() - store.created_at).total_seconds())
    log.warning(
        "vector_store.not_made",
        extra={"vector_store_id": str(store.id), "code": error.code if error else None, "reason": str(error or "")},
    )
