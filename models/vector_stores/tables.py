"""The tables of chunks: one that small stores share, and one of its own for each large store.

In the shared table a search reads all chunks of the store, which takes the same time however large the table is. A table
of its own has indexes of one store only.
"""

from uuid import UUID

from models.platform import locks
from models.platform.database import database, in_transaction, transaction
from models.vector_stores.stores import VectorStore

SHARED = "vector_chunk"
COLUMNS = "vector_store_id, edition_id, position, page, tokens, text, embedding"

# With fastupdate, searches would read a list of words that were not sorted in yet. The statistics are of 3,000 words, so that
# a search knows which of its words are rare: with Postgres's 1,000 it ranked six times as many chunks as it should.
OWN = """
create table {table} (like vector_chunk including all excluding indexes);
alter table {table}
    alter column embedding type halfvec({dimensions}),
    alter column search set statistics 300,
    set (autovacuum_vacuum_scale_factor = 0.1, autovacuum_analyze_scale_factor = 0.05),
    add check (vector_store_id = '{store_id}');
insert into {table} ({columns}) select {columns} from vector_chunk where vector_store_id = '{store_id}';
alter table {table} add primary key (edition_id, position);
create index on {table} using gin (search) with (fastupdate = off);
delete from vector_chunk where vector_store_id = '{store_id}';
analyze {table};
"""


def table_of(store: VectorStore) -> str:
    return own_table(store.id) if store.has_own_table else SHARED


def own_table(store_id: UUID) -> str:
    """Its name comes from the id alone, which is a UUID: nothing that a client wrote."""
    return f"vector_chunks.store_{UUID(str(store_id)).hex}"


@in_transaction
def use(store_id: UUID) -> VectorStore | None:
    """The store, whose chunks stay in their table until the transaction ends; None if its row is gone."""
    locks.lock_for_next("vector_chunks", store_id, is_shared=True)
    return VectorStore.get_or_none(VectorStore.id == store_id)


def promote(store_id: UUID) -> bool:
    """Move a store's chunks to a table of its own. Returns whether they were moved: not if the store is gone.

    Writers of the same store wait meanwhile; searches do not, and see the same chunks before and after.
    """
    with transaction():
        locks.lock_for_next("vector_chunks", store_id)
        store = VectorStore.get_or_none((VectorStore.id == store_id) & VectorStore.deleted_at.is_null())
        if store is None or store.has_own_table or store.dimensions is None:
            return False
        database.execute_sql("set local statement_timeout = 0")
        names = {"table": own_table(store_id), "columns": COLUMNS, "dimensions": int(store.dimensions)}
        database.execute_sql(OWN.format(store_id=UUID(str(store_id)), **names))
        VectorStore.update(has_own_table=True).where(VectorStore.id == store_id).execute()
    return True
