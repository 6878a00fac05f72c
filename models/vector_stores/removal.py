"""Removing chunks that no search sees any more: rows first, chunks later, in short transactions."""

from datetime import timedelta
from uuid import UUID

from models.platform import locks
from models.platform.clock import now
from models.platform.database import database, transaction
from models.vector_stores import tables
from models.vector_stores.editions import Edition
from models.vector_stores.files import VectorStoreFile
from models.vector_stores.stores import VectorStore

REMOVED_AT_ONCE = 2000  # chunks
ABANDONED_AFTER = timedelta(days=1)  # how long an indexing that was not published may still go on

# Of a detached file or a deleted store; superseded; or of an indexing that ended without being published.
DEAD = """
select e.id from vector_edition e left join vector_store s on s.id = e.vector_store_id
left join vector_store_file f on f.id = e.file_row_id left join vector_edition live on live.id = f.edition_id
where s.id is null or s.deleted_at is not null or f.id is null or f.deleted_at is not null
or e.generation < live.generation
or (e.id is distinct from f.edition_id and f.status <> 'in_progress' and e.created_at < %s)
order by e.id limit %s"""
# Materialized: otherwise the planner may read the names of other schemas' tables as ids.
TABLES = """
with own as materialized (
    select uuid(substr(tablename, 7)) as store_id from pg_tables where schemaname = 'vector_chunks')
select store_id from own left join vector_store s on s.id = store_id
where s.id is null or s.deleted_at is not null limit %s"""


def remove_file(file_row_id: UUID) -> int:
    """Remove all chunks of a file, whose row says that it is deleted. Returns how many there were."""
    return sum(_remove(edition) for edition in Edition.select().where(Edition.file_row_id == file_row_id))


def remove_unpublished(file_row_id: UUID, generation: int) -> int:
    """Remove the chunks of an indexing that was not published. Returns how many there were."""
    is_it = (Edition.file_row_id == file_row_id) & (Edition.generation == generation)
    return sum(_remove(edition) for edition in Edition.select().where(is_it))


def remove_superseded(file_row_id: UUID) -> int:
    """Remove the chunks that searches saw before the file was published anew. Returns how many there were."""
    live = Edition.select(Edition.generation).join(VectorStoreFile, on=(VectorStoreFile.edition_id == Edition.id))
    older = Edition.generation < live.where(VectorStoreFile.id == file_row_id)
    return sum(_remove(edition) for edition in Edition.select().where((Edition.file_row_id == file_row_id) & older))


def remove_store(store_id: UUID) -> int:
    """Remove all chunks of a store, whose row says that it is deleted. Returns how many there were."""
    removed = _drop(store_id)
    return removed + sum(_remove(edition) for edition in Edition.select().where(Edition.vector_store_id == store_id))


def sweep(limit: int = 1000) -> int:
    """Remove what nobody has removed, for example because a worker was killed. Returns how many chunks that were."""
    removed = sum(_drop(store_id) for (store_id,) in database.execute_sql(TABLES, (limit,)).fetchall())
    dead = [row[0] for row in database.execute_sql(DEAD, (now() - ABANDONED_AFTER, limit)).fetchall()]
    return removed + sum(_remove(edition) for edition in Edition.select().where(Edition.id.in_(dead)))


def _remove(edition: Edition) -> int:
    """Remove an edition from its end, so that it has no gap at any time."""
    removed = 0
    while count := _remove_some(edition.id, edition.vector_store_id):
        removed += count
    return removed


def _remove_some(edition_id: int, store_id: UUID) -> int:
    with transaction():
        store = tables.use(store_id)
        edition = Edition.select().where(Edition.id == edition_id).for_update().get_or_none()
        if edition is None or _is_seen(edition):  # or published since it was chosen
            return 0
        left = max(0, edition.chunks - REMOVED_AT_ONCE)
        table = tables.table_of(store) if store else tables.SHARED
        statement = f"delete from {table} where vector_store_id = %s and edition_id = %s and position >= %s"  # noqa: S608  names from ids
        database.execute_sql(statement, (store_id, edition_id, left))
        if left:
            Edition.update(chunks=left).where(Edition.id == edition_id).execute()
        else:
            edition.delete_instance()
    return int(edition.chunks - left)


def _is_seen(edition: Edition) -> bool:
    shown = VectorStoreFile.select().join(VectorStore, on=(VectorStore.id == VectorStoreFile.vector_store_id))
    is_live = VectorStoreFile.deleted_at.is_null() & VectorStore.deleted_at.is_null()
    return shown.where((VectorStoreFile.edition_id == edition.id) & is_live).exists()


def _drop(store_id: UUID) -> int:
    """Drop a store's own table, if it has one. Returns how many chunks were in it."""
    with transaction():
        locks.lock_for_next("vector_chunks", store_id)
        table = tables.own_table(store_id)
        if database.execute_sql("select to_regclass(%s)", (table,)).fetchone()[0] is None:
            return 0
        database.execute_sql(f"drop table {table}")
        VectorStore.update(has_own_table=False).where(VectorStore.id == store_id).execute()
        of_store = Edition.vector_store_id == store_id
        removed = sum(edition.chunks for edition in Edition.select().where(of_store))
        Edition.delete().where(of_store).execute()
    return removed
