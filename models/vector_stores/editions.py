"""Editions: all chunks of a file from one indexing of it. A search sees the one that the file's row names, if any.

So a file is published, and published anew, by changing one column of its row, however many chunks it has.
"""

from typing import TYPE_CHECKING, Any
from uuid import UUID

from peewee import BigIntegerField, IntegerField, UUIDField, fn

from models.platform.database import in_transaction
from models.platform.errors import Conflict
from models.platform.model import DateTimeTZField, Model
from models.vector_stores.files import VectorStoreFile

if TYPE_CHECKING:
    from peewee import ModelSelect


class FileGone(Conflict):
    code, message = "file_gone", "The file was detached from its vector store."


class NotStaged(Conflict):
    code, message = "chunks_not_staged", "There are no chunks of this file to publish."


class NotNext(Conflict):
    code, message = "chunks_not_next", "Other chunks of this file were written meanwhile."


class Edition(Model):
    """`generation`: 1, 2, 3 ... of one file. `chunks`: how many are written; their positions are 0 to chunks - 1."""

    id: Any = BigIntegerField(primary_key=True)
    created_at = DateTimeTZField()
    vector_store_id = UUIDField()
    file_row_id = UUIDField()
    generation = IntegerField()
    chunks = IntegerField()

    class Meta:
        table_name = "vector_edition"


def _of(file_row_id: UUID, generation: int) -> "ModelSelect[Edition]":
    return Edition.select().where((Edition.file_row_id == file_row_id) & (Edition.generation == generation))


def next_generation(file_row_id: UUID) -> int:
    """The generation of a new indexing: no chunks were ever written for it."""
    highest = Edition.select(fn.max(Edition.generation)).where(Edition.file_row_id == file_row_id).scalar()
    return (highest or 0) + 1


def staged(file_row_id: UUID, generation: int) -> int:
    """The position of the next chunk to write: 0 at first, and after a kill where the last batch ended."""
    edition = _of(file_row_id, generation).get_or_none()
    return int(edition.chunks) if edition else 0


def stored(store_id: UUID) -> int:
    """The number of a store's chunks, staged and superseded ones too."""
    return int(Edition.select(fn.sum(Edition.chunks)).where(Edition.vector_store_id == store_id).scalar() or 0)


@in_transaction
def claim(file_row: VectorStoreFile, generation: int, first: int) -> Edition:
    """The edition, locked, with exactly `first` chunks. FileGone, NotNext."""
    is_live = (VectorStoreFile.id == file_row.id) & VectorStoreFile.deleted_at.is_null()
    if not VectorStoreFile.select().where(is_live).exists():
        raise FileGone()
    names = {"vector_store_id": file_row.vector_store_id, "file_row_id": file_row.id, "generation": generation}
    Edition.insert(names).on_conflict_ignore().execute()
    edition: Edition = _of(file_row.id, generation).for_update().get()
    if edition.chunks != first:
        raise NotNext(f"The next chunk of this file is number {edition.chunks}, not {first}.")
    return edition


@in_transaction
def keep_whole(file_row: VectorStoreFile) -> int:
    """Have all chunks that searches see of a file stay until the transaction ends. Returns how many they are.

    NotStaged if others have taken their place since the row was read, and they are being removed.
    """
    query = Edition.select().where(Edition.id == file_row.edition_id)
    edition = query.for_update("FOR SHARE").get_or_none()  # type: ignore[arg-type]  # its stubs know no modes
    if edition is None or edition.chunks != file_row.chunk_count:
        raise NotStaged()
    return int(edition.chunks)


@in_transaction
def publish(file_row: VectorStoreFile, generation: int) -> int:
    """Let searches see these chunks of the file instead of those they see now. Returns how many they are.

    The superseded ones are removed later: removal.remove_superseded. FileGone, NotStaged.
    """
    edition = _of(file_row.id, generation).for_update().get_or_none()
    if edition is None or not edition.chunks:
        raise NotStaged()
    is_live = (VectorStoreFile.id == file_row.id) & VectorStoreFile.deleted_at.is_null()
    columns = {"edition_id": edition.id, "chunk_count": edition.chunks}
    if not VectorStoreFile.update(columns).where(is_live).execute():
        raise FileGone()
    file_row.edition_id, file_row.chunk_count = edition.id, edition.chunks
    return int(edition.chunks)
