"""Writing chunks: parts of a file's text, each with the vector of its meaning."""

import io
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from models.platform.database import database, transaction
from models.platform.errors import Conflict
from models.vector_stores import editions, tables
from models.vector_stores.editions import FileGone, NotStaged
from models.vector_stores.files import VectorStoreFile
from models.vector_stores.stores import VectorStore

COPIED_AT_ONCE = 500  # chunks
HEADER, TRAILER = b"PGCOPY\n\xff\r\n\x00" + struct.pack(">ii", 0, 0), struct.pack(">h", -1)
NULL = struct.pack(">i", -1)
MOST_DIMENSIONS, LARGEST = 4000, 65504.0  # of a halfvec
FIELDS = struct.pack(">h", 7)


class DimensionsDiffer(Conflict):
    code, message = "embedding_dimensions_differ", "The vectors have another length than those of this vector store."


class InvalidVector(ValueError):
    """A vector that is empty, too long, or has a number that is not finite or too large."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """`page`: of the document, from 1; None if it has no pages. `vector`: numbers, or float32 in little-endian bytes."""

    text: str
    tokens: int
    page: int | None
    vector: list[float] | bytes


def stage(file_row: VectorStoreFile, generation: int, first: int, batch: list[Chunk]) -> None:
    """Write the chunks at the positions from `first` on. No search sees them before `editions.publish`.

    All of the batch is written, or nothing. FileGone, NotNext if other positions are to be written, DimensionsDiffer,
    InvalidVector.
    """
    if not batch:
        return
    vectors = [_packed(chunk.vector) for chunk in batch]
    with transaction():
        store = _store(file_row, _dimensions(vectors))
        edition = editions.claim(file_row, generation, first)
        rows = _rows(store.id, edition.id, first, zip(batch, vectors, strict=True))
        statement = f"copy {tables.table_of(store)} ({tables.COLUMNS}) from stdin with (format binary)"
        database.cursor().copy_expert(statement, rows)
        edition.chunks += len(batch)
        edition.save(only=("chunks",))


def copy_from(other_file_row: VectorStoreFile, file_row: VectorStoreFile, generation: int | None = None) -> int:
    """Stage what searches see of another file of equal content, of a store with the same model. Returns the generation.

    Goes on where it was interrupted, if it gets the same `generation`. FileGone, NotStaged, DimensionsDiffer.
    """
    generation = generation or editions.next_generation(file_row.id)
    while not _copy_some(other_file_row.id, file_row, generation):
        pass
    return generation


def _copy_some(other_id: UUID, file_row: VectorStoreFile, generation: int) -> bool:
    """Copy the next chunks. Returns whether all are copied."""
    first = editions.staged(file_row.id, generation)
    other = VectorStoreFile.get_or_none(VectorStoreFile.id == other_id)
    if other is None or other.edition_id is None:
        raise NotStaged()
    with transaction():
        source = tables.use(other.vector_store_id)
        if source is None or source.dimensions is None:
            raise NotStaged()
        store = _store(file_row, source.dimensions)
        edition = editions.claim(file_row, generation, first)
        total = editions.keep_whole(other)
        statement = f"""
            insert into {tables.table_of(store)} ({tables.COLUMNS})
            select %s, %s, position, page, tokens, text, embedding from {tables.table_of(source)}
            where vector_store_id = %s and edition_id = %s and position >= %s and position < %s"""  # noqa: S608  names from ids
        values = (store.id, edition.id, source.id, other.edition_id, first, first + COPIED_AT_ONCE)
        edition.chunks += database.execute_sql(statement, values).rowcount
        edition.save(only=("chunks",))
    return bool(edition.chunks >= total)


def _store(file_row: VectorStoreFile, dimensions: int) -> VectorStore:
    """The file's store, for writing. The first vectors decide how long its vectors are."""
    store = tables.use(file_row.vector_store_id)
    if store is None or store.deleted_at is not None:
        raise FileGone()
    if store.dimensions is None:
        is_open = (VectorStore.id == store.id) & VectorStore.dimensions.is_null()
        VectorStore.update(dimensions=dimensions).where(is_open).execute()
        store = VectorStore.get_by_id(store.id)
    if store.dimensions != dimensions:
        message = f"The vectors have {dimensions} dimensions, those of this vector store {store.dimensions}."
        raise DimensionsDiffer(message, details={"expected": store.dimensions, "actual": dimensions})
    return store


def _dimensions(vectors: list[bytes]) -> int:
    lengths = {len(vector) for vector in vectors}
    if len(lengths) != 1:
        raise DimensionsDiffer("The vectors of one batch have different lengths.")
    return (lengths.pop() - 4) // 2


def numbers(vector: list[float] | bytes) -> list[float]:
    """The numbers of a vector. InvalidVector."""
    if isinstance(vector, bytes):
        if len(vector) % 4:
            raise InvalidVector(f"A vector of {len(vector)} bytes is not made of float32 numbers.")
        vector = list(struct.unpack(f"<{len(vector) // 4}f", vector))
    if not 0 < len(vector) <= MOST_DIMENSIONS:
        raise InvalidVector(f"A vector has 1 to {MOST_DIMENSIONS} dimensions, not {len(vector)}.")
    if not all(-LARGEST <= number <= LARGEST for number in vector):  # NaN neither
        raise InvalidVector("A vector has a number that is not finite, or too large for 16 bits.")
    return vector


def _packed(vector: list[float] | bytes) -> bytes:
    """A vector as Postgres reads a halfvec: the number of dimensions, two unused bytes, big-endian float16."""
    given = numbers(vector)
    return struct.pack(f">hh{len(given)}e", len(given), 0, *given)


def _rows(store_id: UUID, edition_id: int, first: int, batch: Iterable[tuple[Chunk, bytes]]) -> io.BytesIO:
    """The rows in the binary form of COPY, in the order of tables.COLUMNS."""
    key = FIELDS + _field(store_id.bytes) + _field(struct.pack(">q", edition_id))
    rows = io.BytesIO()
    rows.write(HEADER)
    for position, (chunk, vector) in enumerate(batch, first):
        page = NULL if chunk.page is None else _integer(chunk.page)
        text = chunk.text.replace("\x00", "").encode("utf-8", "replace")  # Postgres stores no NUL
        rows.writelines((key, _integer(position), page, _integer(chunk.tokens), _field(text), _field(vector)))
    rows.write(TRAILER)
    rows.seek(0)
    return rows


def _field(value: bytes) -> bytes:
    return struct.pack(">i", len(value)) + value


def _integer(number: int) -> bytes:
    return struct.pack(">ii", 4, number)
