"""Attaching a file to a store: the row, and the run that indexes it, in one transaction."""

import mimetypes
from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import UUID

from peewee import IntegrityError

from models.billing.quotas import INDEXING_RUN, Guard
from models.platform.database import database, in_transaction
from models.platform.errors import Conflict
from models.platform.ids import parse_uuid
from models.platform.principal import Principal
from models.runs.run import INDEXING, Run
from models.storage.objects import ObjectNotFound, StorageObject
from models.vector_stores import limits
from models.vector_stores.files import FileNotFound, ProviderFile, VectorStoreFile
from models.vector_stores.stores import OPENAI, VectorStore

PREFIX = "file-"  # of the id of a stored object, in the form that the provider's files have


class FileAttached(Conflict):
    code, message = "file_already_attached", "File already attached to this vector store"


class FileNotProviders(Conflict):
    status, code = 422, "provider_file_not_indexable"
    message = "A file at the provider can only be attached to a store of the engine `openai`."


class Source(NamedTuple):
    """What a `file_id` means: a stored object, or a file at the provider that is this tenant's."""

    file_id: str
    object_id: UUID | None
    filename: str
    mime_type: str | None
    size_bytes: int
    sha256: str | None


class Attached(NamedTuple):
    """`is_again`: the file was attached before, and is to be indexed anew."""

    file: VectorStoreFile
    run: Run
    engine: str
    is_again: bool = False


def guard_of(principal: Principal, run_id: UUID) -> Guard:
    """What an indexing reserves: nothing, but it is refused once the tokens of the period are used."""
    return Guard(principal.tenant_id, run_id, INDEXING_RUN)


@in_transaction
def attach(
    principal: Principal,
    store_id: UUID,
    file_id: str,
    guard: Guard,
    *,
    attributes: Mapping[str, Any] | None = None,
    chunking_strategy: Mapping[str, Any] | None = None,
) -> Attached:
    """The new file of a store, in progress, and its queued run, whose job the caller enqueues.

    VectorStoreNotFound, StoreExpired, StoreFailed; FileNotFound, ObjectNotReady; FileAttached (409); FileTooLarge,
    TypeNotAllowed (400); TooManyFiles, TooManyBytes (403); FileNotProviders (422).
    """
    guard.reserve()
    store = VectorStore.find(principal, store_id)
    store.require_usable()
    source = source_of(principal, file_id, store)
    limits.hold(store.tenant_id)
    _require_not_attached(store.id, source.file_id)
    limits.require_indexable(store.tenant_id, source.mime_type, source.size_bytes)
    limits.require_room_for_file(store.tenant_id, store.id, source.size_bytes)
    try:
        with database.savepoint():
            row = VectorStoreFile.create(
                tenant_id=store.tenant_id,
                vector_store_id=store.id,
                attributes=dict(attributes or {}),
                chunking_strategy=None if chunking_strategy is None else dict(chunking_strategy),
                **source._asdict(),
            )
    except IntegrityError as error:  # the unique index on live files
        if "vector_store_file_id" in str(error):
            raise FileAttached() from None
        raise
    run = _run(principal, store, row, guard.holder)
    row.use(run)
    store.touch()
    return Attached(row, run, store.engine)


@in_transaction
def index_again(principal: Principal, store_id: UUID, file_id: str, guard: Guard) -> Attached:
    """Another run for a file of the store: it failed, or it is to be read anew. What can be found stays meanwhile.

    VectorStoreNotFound, StoreExpired, FileNotFound; FileBusy (409) while it is being indexed.
    """
    guard.reserve()
    store = VectorStore.find(principal, store_id)
    store.require_usable()
    VectorStore.hold(store.id)  # before the file, as whoever changes both does
    row = VectorStoreFile.find(principal, store.id, file_id).locked()
    row.require_idle()
    run = _run(principal, store, row, guard.holder)
    row.use(run)
    store.touch()
    return Attached(row, run, store.engine, is_again=True)


def _run(principal: Principal, store: VectorStore, row: VectorStoreFile, run_id: UUID) -> Run:
    return Run.create(
        id=run_id,
        tenant_id=store.tenant_id,
        user_id=principal.user_id,
        kind=INDEXING,
        conversation_key=str(row.id),
        agent=INDEXING,
        request={"vector_store_id": str(store.id), "file_row_id": str(row.id)},
    )


def source_of(principal: Principal, file_id: str, store: VectorStore) -> Source:
    """What this caller means by `file_id`: the id of a stored object, alone or after `file-`, or that of a provider's file."""
    if object_id := object_of(file_id):
        try:
            return _of_object(StorageObject.ready_for(principal, object_id))
        except ObjectNotFound:
            if not file_id.startswith(PREFIX):
                raise FileNotFound() from None
    return _of_provider(principal, file_id, store)


def object_of(file_id: str) -> UUID | None:
    """The object that the text may name."""
    return parse_uuid(file_id.removeprefix(PREFIX))


def id_of(object_id: UUID) -> str:
    """What clients call a stored object as a file of a store."""
    return f"{PREFIX}{object_id.hex}"


def _of_object(found: StorageObject) -> Source:
    return Source(id_of(found.id), found.id, found.filename, found.mime_type, found.size_bytes, found.sha256)


def _of_provider(principal: Principal, file_id: str, store: VectorStore) -> Source:
    is_it = ProviderFile.provider_file_id == file_id
    found = ProviderFile.visible_to(principal).where(is_it).get_or_none()
    if found is None:
        raise FileNotFound()
    if found.object_id is not None:  # our own copy of a stored object
        return _of_object(StorageObject.ready_for(principal, found.object_id))
    if store.engine != OPENAI:
        raise FileNotProviders()
    mime_type = found.mime_type or mimetypes.guess_type(found.filename)[0]
    return Source(file_id, None, found.filename, mime_type, found.size_bytes or 0, None)


def _require_not_attached(store_id: UUID, file_id: str) -> None:
    is_it = (VectorStoreFile.vector_store_id == store_id) & (VectorStoreFile.file_id == file_id)
    if VectorStoreFile.select(VectorStoreFile.id).where(is_it & VectorStoreFile.deleted_at.is_null()).exists():
        raise FileAttached()
