"""Keeping our rows of stores at the provider in line with it.

A worker takes the stores that are due by moving their next time: no two ask for the same one, whatever the number of jobs.
"""

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from models.platform.clock import now
from models.platform.database import release, transaction
from models.platform.settings import settings
from models.vector_stores import metrics
from models.vector_stores.files import COMPLETED, FAILED, VectorStoreFile
from models.vector_stores.stores import COMPLETED as STORE_COMPLETED
from models.vector_stores.stores import EXPIRED, VectorStore
from workers.gateways import openai_vector_stores as provider
from workers.gateways.openai import NotThere, ProviderError
from workers.jobs import VECTOR_STORE_SYNC
from workers.runtime import Lease, actor
from workers.vector_stores.stores import purge, state_of

if TYPE_CHECKING:
    from workers.gateways.openai_vector_stores import RemoteFile

log = logging.getLogger(__name__)
SLOWER = 10  # a store that is complete is asked for this many times less often, and an expired one too
LONGEST_DELAY = 3600  # seconds, after failures
SETTLED = timedelta(minutes=5)  # a younger file may be missing because it is only being attached
# A store that is taken is due again after `seconds`, in case its worker dies.
TAKE = """
update vector_store set next_sync_at = clock_timestamp() + make_interval(secs => %(seconds)s)
where id in (
    select id from vector_store
    where engine = 'openai' and provider_id is not null and deleted_at is null and next_sync_at <= clock_timestamp()
    order by next_sync_at limit %(limit)s for no key update skip locked)
returning {columns}"""
FILES = """
select {file.columns}, coalesce(copy.provider_file_id, file.file_id) as known_as from vector_store_file file
left join provider_file copy on copy.object_id = file.object_id
where file.vector_store_id = %(store_id)s and file.deleted_at is null and file.status <> 'in_progress'"""


@actor(VECTOR_STORE_SYNC)
def sync_stores(lease: Lease) -> None:
    """Ask for all stores that are due, a batch at a time. What goes wrong with one concerns no other.

    One such job is enough: while the provider is slow, those of the next minutes would keep workers from indexing.
    """
    is_enough = lease.job.running_before() > 0
    release()
    if is_enough or not settings.enable_vector_store_sync_worker:
        return
    while stores := _take():
        for store in stores:
            lease.checkpoint()
            sync(store)


def sync(store: VectorStore) -> None:
    """Bring one store and its files in line. Never raises what the provider does."""
    try:
        with metrics.OPERATIONS.counted("sync"):
            remote = provider.retrieve(str(store.provider_id))
            files = [] if remote.status == EXPIRED else list(provider.files_of(remote.id))
    except NotThere:
        with transaction():
            purge(store, "The provider does not have it any more.")
    except ProviderError as error:
        _failed(store, error)
    else:
        _write(store, state_of(remote), files)
        if remote.status != EXPIRED:
            _write_files(store, {file.id: file for file in files})
    finally:
        release()


def _take() -> list[VectorStore]:
    values = {"seconds": settings.vector_store_sync_poll_seconds, "limit": settings.vector_store_sync_batch_size}
    try:
        with transaction():
            return VectorStore.all(TAKE, **values)
    finally:
        release()


def _failed(store: VectorStore, error: ProviderError) -> None:
    failures = store.sync_failures + 1
    delay = min(LONGEST_DELAY, settings.vector_store_sync_poll_seconds * 2 ** min(failures, 10))
    _update(store, sync_failures=failures, next_sync_at=now() + timedelta(seconds=delay))
    log.warning(
        "vector_store.sync_failed",
        extra={"vector_store_id": str(store.id), "tenant_id": str(store.tenant_id), "code": error.code},
    )


def _write(store: VectorStore, columns: dict[str, Any], files: "list[RemoteFile]") -> None:
    is_quiet = columns["status"] in (STORE_COMPLETED, EXPIRED) and all(file.status == COMPLETED for file in files)
    seconds = settings.vector_store_sync_poll_seconds * (SLOWER if is_quiet else 1)
    changed = {name: value for name, value in columns.items() if getattr(store, name) != value}
    if changed:
        changed["updated_at"] = now()
    _update(store, sync_failures=0, next_sync_at=now() + timedelta(seconds=seconds), **changed)


def _update(store: VectorStore, **columns: Any) -> None:
    VectorStore.update(**columns).where((VectorStore.id == store.id) & VectorStore.deleted_at.is_null()).execute()


def _write_files(store: VectorStore, remote: "dict[str, RemoteFile]") -> None:
    """The state of the files that no run of ours is busy with."""
    for row, more in VectorStoreFile.all_with_extras(FILES, store_id=store.id):
        found = remote.get(more["known_as"])
        if found is not None:
            columns = _state(found)
        elif row.status == COMPLETED and row.updated_at < now() - SETTLED:
            columns = {
                "status": FAILED,
                "error_code": "missing_at_provider",
                "last_error": "The provider does not have it in this store any more. Have it indexed again.",
                "usage_bytes": 0,
            }
        else:
            continue
        if any(getattr(row, name) != value for name, value in columns.items()):
            _write_file(row.id, columns)


def _state(found: "RemoteFile") -> dict[str, Any]:
    """The columns that the provider decides. A file that it indexes anew stays as it is here."""
    error = found.last_error
    return {
        "status": COMPLETED if found.status == "in_progress" else found.status,
        "usage_bytes": found.usage_bytes,
        "last_error": error.message if error else None,
        "error_code": error.code if error else None,
    }


def _write_file(row_id: UUID, columns: dict[str, Any]) -> None:
    is_idle = (VectorStoreFile.id == row_id) & (VectorStoreFile.status != "in_progress")
    update = VectorStoreFile.update(updated_at=now(), **columns).where(is_idle & VectorStoreFile.deleted_at.is_null())
    update.execute()
