"""Making and deleting stores, and detaching files. The rows come first; what follows from them is for jobs."""

from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

from models.platform import audit
from models.platform.client_info import UNKNOWN_CLIENT, ClientInfo
from models.platform.clock import now
from models.platform.database import in_transaction, transaction
from models.platform.errors import Conflict
from models.platform.principal import Principal
from models.platform.settings import settings
from models.runs import progress
from models.runs.run import ACTIVE, Run
from models.vector_stores import limits
from models.vector_stores.files import DELETED as FILE_DELETED
from models.vector_stores.files import FileNotFound, VectorStoreFile
from models.vector_stores.stores import COMPLETED, CREATING, DELETED, PGVECTOR, VectorStore, VectorStoreNotFound

HELD = 500  # runs that are stopped at once


class StoreNameTaken(Conflict):
    code, message = "vector_store_name_taken", "A vector store with this name already exists"


class Wish(NamedTuple):
    """A new store. `expires_after`: {"anchor": "last_active_at", "days": 1 to 365}."""

    name: str
    description: str | None = None
    expires_after: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None


class Detached(NamedTuple):
    file: VectorStoreFile
    engine: str


@in_transaction
def create(principal: Principal, wish: Wish, client: ClientInfo = UNKNOWN_CLIENT) -> VectorStore:
    """The row of a new store of VECTOR_ENGINE. One at the provider is `creating` until its job has made it there.

    StoreNameTaken (409), TooManyStores (403).
    """
    tenant_id, time, engine = principal.tenant_id, now(), settings.vector_engine
    if tenant_id is None:
        raise VectorStoreNotFound()
    limits.hold(tenant_id)
    has_name = (VectorStore.tenant_id == tenant_id) & (VectorStore.name == wish.name)
    if VectorStore.select(VectorStore.id).where(has_name & VectorStore.deleted_at.is_null()).exists():
        raise StoreNameTaken()
    limits.require_room_for_store(tenant_id)
    days = wish.expires_after["days"] if wish.expires_after else None
    store = VectorStore.create(
        tenant_id=tenant_id,
        creator_id=principal.user_id,
        name=wish.name,
        description=wish.description,
        engine=engine,
        status=COMPLETED if engine == PGVECTOR else CREATING,
        expires_after=wish.expires_after,
        expires_at=None if days is None else time + timedelta(days=days),
        last_active_at=time,
        created_at=time,
        updated_at=time,
        metadata=wish.metadata or {},
    )
    audit.record("vector_store.created", principal, f"vector_store:{store.id}", client=client, engine=engine)
    return store


@in_transaction
def delete(principal: Principal, store_id: UUID, client: ClientInfo = UNKNOWN_CLIENT) -> VectorStore:
    """The store is gone for everybody; its name and its place are free. A job removes what is in it.

    VectorStoreNotFound.
    """
    store = VectorStore.find(principal, store_id)
    if not remove(store):
        raise VectorStoreNotFound()
    audit.record("vector_store.deleted", principal, f"vector_store:{store.id}", client=client)
    return store


@in_transaction
def remove(store: VectorStore) -> bool:
    """Mark a store as deleted, whoever wants it. False if it is already."""
    gone = VectorStore.update(status=DELETED, deleted_at=now(), updated_at=now())
    return bool(gone.where((VectorStore.id == store.id) & VectorStore.deleted_at.is_null()).execute())


@in_transaction
def detach(principal: Principal, store_id: UUID, file_id: str, client: ClientInfo = UNKNOWN_CLIENT) -> Detached | None:
    """The file is not found by any search from now on; a job removes its index. None if it is not attached.

    FileNotFound if there is no such store.
    """
    try:
        store = VectorStore.find(principal, store_id)
        row = VectorStoreFile.find(principal, store.id, file_id)
    except VectorStoreNotFound:
        raise FileNotFound() from None
    except FileNotFound:
        return None
    if VectorStore.hold(store.id) is None:
        raise FileNotFound()
    is_live = (VectorStoreFile.id == row.id) & VectorStoreFile.deleted_at.is_null()
    gone = VectorStoreFile.update(status=FILE_DELETED, deleted_at=now(), updated_at=now()).where(is_live)
    if not gone.execute():
        return None
    VectorStore.recount(store.id)
    subject = f"vector_store_file:{row.id}"
    audit.record("vector_store.file_detached", principal, subject, client=client, vector_store_id=str(store.id))
    return Detached(row, store.engine)


def stop_runs(store_id: UUID, file_row_id: UUID | None = None) -> int:
    """Stop the runs that index files of a store, or one of its files. Returns how many there were. Call it after the commit
    that deletes them: a run locks its jobs first."""
    rows = VectorStoreFile.vector_store_id == store_id
    if file_row_id is not None:
        rows &= VectorStoreFile.id == file_row_id
    active = Run.select(Run.id).join(VectorStoreFile, on=(VectorStoreFile.run_id == Run.id)).where(rows)
    run_ids = [run.id for run in active.where(Run.state.in_(ACTIVE)).limit(HELD)]
    for run_id in run_ids:
        with transaction():
            closed = Run.stop(run_id)
        if closed:
            progress.send_terminal_or_log(closed)
    return len(run_ids)
