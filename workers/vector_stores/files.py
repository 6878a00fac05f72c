"""Files of stores: attached to those at the provider, and detached from those of both engines."""

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn
from uuid import UUID

from models.platform.clock import now
from models.platform.database import in_transaction, release, transaction
from models.platform.ids import parse_uuid
from models.runs import events, progress
from models.runs.run import FAILED as RUN_FAILED
from models.runs.run import QUEUED, RUNNING, SUCCEEDED, Run
from models.storage.objects import ObjectNotFound, ObjectNotReady, StorageObject
from models.vector_stores import metrics
from models.vector_stores.files import (
    COMPLETED,
    FAILED,
    IN_PROGRESS,
    ProviderFile,
    VectorStoreFile,
)
from models.vector_stores.removal import remove_file as remove_chunks
from models.vector_stores.stores import FAILED as STORE_FAILED
from models.vector_stores.stores import PGVECTOR, StoreNotReady, VectorStore
from workers.gateways import openai_vector_stores as provider
from workers.gateways.openai import NotThere, ProviderRejected
from workers.gateways.storage import BlobMissing
from workers.jobs import FILE_ATTACH, FILE_ATTACH_FAIL, FILE_DETACH
from workers.lease import TryLater
from workers.metrics import run_ended
from workers.runtime import Lease, actor
from workers.storage.reading import BlobDamaged, fetch

if TYPE_CHECKING:
    from workers.gateways.openai_vector_stores import RemoteFile

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 1.0  # seconds between two questions whether it is indexed
WAIT_SECONDS, LATER_SECONDS = 5.0, 10.0  # for which a worker waits for that; after which one looks again
LONGEST = timedelta(hours=4)  # for which the provider may index a file
GIVEN_UP = "The provider could not be reached, or did not answer as it should."


class Unusable(Exception):
    """The file will never be indexed. `code` is stable."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


@actor(FILE_ATTACH)
def attach_file(lease: Lease) -> None:
    """Have the provider index a file, and wait until it has. Repeatable: whatever is there already is used."""
    row = _row(lease)
    if row is None or row.deleted_at is not None or lease.job.run_id != row.run_id:
        return
    began = time.perf_counter()
    Run.update(state=RUNNING, started_at=now()).where((Run.id == row.run_id) & (Run.state == QUEUED)).execute()
    release()
    try:
        remote = _indexed(lease, row)
    except (Unusable, ProviderRejected) as error:
        _end(lease, row, error_code=error.code, error=error.message)
        metrics.OPERATIONS.done("index", error.code, time.perf_counter() - began)
        return
    failure = remote.last_error if remote.status != COMPLETED else None
    if remote.status == COMPLETED:
        _end(lease, row, usage_bytes=remote.usage_bytes)
    else:
        code, text = (failure.code, failure.message) if failure else (remote.status, "The provider did not index it.")
        _end(lease, row, error_code=code, error=text)
    metrics.OPERATIONS.done("index", "success" if remote.status == COMPLETED else "failed", time.perf_counter() - began)


@actor(FILE_ATTACH_FAIL)
def fail_attaching(lease: Lease) -> None:
    row = _row(lease)
    if row is not None and row.deleted_at is None and lease.job.run_id == row.run_id:
        _end(lease, row, error_code="provider_unavailable", error=GIVEN_UP)


@actor(FILE_DETACH)
def detach_file(lease: Lease) -> None:
    """Remove what is left of a file that was detached."""
    row = _row(lease)
    if row is None or row.deleted_at is None:
        return
    store = VectorStore.get_by_id(row.vector_store_id)
    release()
    if store.engine == PGVECTOR:
        remove_chunks(row.id)
    elif store.provider_id and store.deleted_at is None and not _is_attached_again(row):
        file_id = _known_as(row)
        if file_id is not None:
            provider.detach(store.provider_id, file_id)


def _indexed(lease: Lease, row: VectorStoreFile) -> "RemoteFile":
    """The file in the provider's store, in a final state. StoreNotReady: later, perhaps."""
    store = VectorStore.get_by_id(row.vector_store_id)
    release()
    if store.status == STORE_FAILED or store.deleted_at is not None:
        raise Unusable("vector_store_failed", "The vector store could not be made.")
    if store.provider_id is None:
        raise StoreNotReady()
    file_id = _known_as(row) or _copy(lease, row)
    wanted: dict[str, Any] = {}
    if row.attributes:
        wanted["attributes"] = row.attributes
    if row.chunking_strategy:
        wanted["chunking_strategy"] = row.chunking_strategy
    if lease.job.args.get("again") and row.begun_run_id != row.run_id:
        provider.detach(store.provider_id, file_id)
        VectorStoreFile.update(begun_run_id=row.run_id).where(VectorStoreFile.id == row.id).execute()
        release()
    end = time.monotonic() + WAIT_SECONDS
    try:
        remote, pause = provider.attach(store.provider_id, file_id, wanted), FIRST_PAUSE
        while remote.status == IN_PROGRESS:
            if time.monotonic() > end:
                _look_later(row)
            with lease.interruptible():
                time.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)
            remote = provider.retrieve_file(store.provider_id, file_id)
    except NotThere:
        raise Unusable("missing_at_provider", "The provider does not have the file, or its store, any more.") from None
    return remote


def _look_later(row: VectorStoreFile) -> NoReturn:
    """Leave the worker to others while the provider is at work. Unusable if that has taken too long."""
    run = Run.get_or_none(Run.id == row.run_id)
    release()
    if run is not None and run.started_at is not None and run.started_at < now() - LONGEST:
        raise Unusable("provider_unavailable", "The provider did not index the file in time.")
    raise TryLater("the provider is indexing", LATER_SECONDS, is_failure=False)


def _known_as(row: VectorStoreFile) -> str | None:
    """The provider's id of the file; None for a stored object that was not copied yet."""
    if row.object_id is None:
        return row.file_id
    copy: ProviderFile | None = ProviderFile.get_or_none(ProviderFile.object_id == row.object_id)
    release()
    return copy.provider_file_id if copy else None


def _copy(lease: Lease, row: VectorStoreFile) -> str:
    """Copy the stored object to the provider, once for all stores. Returns the provider's id of the copy."""
    if row.object_id is None:
        raise Unusable("object_gone", "The file was deleted.")
    stored = _stored(row.tenant_id, row.object_id)
    made = None if lease.job.epoch == 1 else provider.find_copy(stored.id)
    if made is None:
        with lease.interruptible():
            try:
                file = fetch(stored)
            except (BlobMissing, BlobDamaged):
                raise Unusable("object_gone", "The stored file is not there any more.") from None
            with file:
                made = provider.upload(stored.id, file, stored.filename)
    kept = _keep(stored, made.id)
    if kept != made.id:  # another job was faster
        provider.remove_file(made.id)
    return kept


def _stored(tenant_id: UUID, object_id: UUID) -> StorageObject:
    try:
        return StorageObject.of_tenant(tenant_id, object_id)
    except (ObjectNotFound, ObjectNotReady):
        raise Unusable("object_gone", "The stored file was deleted.") from None
    finally:
        release()


def _keep(stored: StorageObject, provider_file_id: str) -> str:
    """Which copy of the object counts."""
    with transaction():
        ProviderFile.insert_if_new(
            tenant_id=stored.tenant_id,
            provider_file_id=provider_file_id,
            object_id=stored.id,
            filename=stored.filename,
            mime_type=stored.mime_type,
            size_bytes=stored.size_bytes,
        )
        kept = ProviderFile.get(ProviderFile.object_id == stored.id)
    release()
    return str(kept.provider_file_id)


def _end(
    lease: Lease, row: VectorStoreFile, *, usage_bytes: int = 0, error_code: str | None = None, error: str | None = None
) -> None:
    """The job, its run and the row end together; then whoever watches is told."""
    with transaction():
        lease.job.finish()
        store = VectorStore.hold(row.vector_store_id)  # before the run, whose end writes to the file's row
        run = _end_run(row, error_code, error)
        current = VectorStoreFile.lock(row.id)
        if store and current and current.deleted_at is None and current.run_id == lease.job.run_id:
            current.status = FAILED if error_code else COMPLETED
            current.usage_bytes = usage_bytes
            current.error_code, current.last_error, current.updated_at = error_code, error, now()
            current.save()
            VectorStore.recount(store.id)
    if run:
        run_ended(run)
        progress.send_terminal(run)


@in_transaction
def _end_run(row: VectorStoreFile, error_code: str | None, error: str | None) -> Run | None:
    if row.run_id is None:
        return None
    if error_code:
        return Run.close(row.run_id, RUN_FAILED, error_code, error or GIVEN_UP)
    run = Run.lock(row.run_id)
    if run is None:
        return None
    terminal = events.succeeded(run.conversation_key, run.agent, None, None, payload={"file_id": row.file_id})
    return run if run.finish(SUCCEEDED, terminal, run.last_sequence(), result={"file_id": row.file_id}) else None


def _is_attached_again(row: VectorStoreFile) -> bool:
    is_it = (VectorStoreFile.vector_store_id == row.vector_store_id) & (VectorStoreFile.file_id == row.file_id)
    found = VectorStoreFile.select(VectorStoreFile.id).where(is_it & VectorStoreFile.deleted_at.is_null()).exists()
    release()
    return bool(found)


def _row(lease: Lease) -> VectorStoreFile | None:
    row_id: UUID | None = parse_uuid(lease.job.args["file_row_id"])
    row: VectorStoreFile | None = VectorStoreFile.get_or_none(VectorStoreFile.id == row_id)
    release()
    return row
