"""The indexes of large stores' vectors (HNSW), which are built of many chunks at once.

To add a chunk to such an index takes ten times as long as to build it with the others. So new editions stay outside: an index
covers those up to a certain one, and searches compare all chunks of the later ones. When these have become many, a new index
takes the place of the old one. Nobody waits for it.
"""

from uuid import UUID

import peewee

from models.platform import locks
from models.platform.database import database, release
from models.vector_stores import tables
from models.vector_stores.stores import VectorStore

LARGE = 5000  # chunks from which on a store has a table of its own, with an index
SHARE = 10  # an index is built anew when one chunk in so many is outside, and LARGE are
HUGE = 200_000  # chunks from which on the index takes every new one: to build it anew would take minutes
EVERYTHING = 2**63 - 1  # an edition after all others
SHAPE = "m = 24, ef_construction = 100"  # more than pgvector's defaults: a twentieth more of the nearest are found
BUILD_MEMORY = "512MB"  # at most; enough for 200,000 chunks of 1,000 dimensions

# For each store: its chunks, and how many of them are outside its index.
DUE = """
select s.id from vector_store s join vector_edition e on e.vector_store_id = s.id
where s.deleted_at is null and s.dimensions is not null and s.indexed_edition < {everything}
group by s.id having sum(e.chunks) filter (where e.id > s.indexed_edition) >= greatest({large}, sum(e.chunks) / {share})
order by s.id"""
INDEXES = """
select c.relname from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am a on a.oid = c.relam
where i.indrelid = to_regclass(%s) and a.amname = 'hnsw' order by 1"""


def due() -> list[UUID]:
    """The stores that need a table of their own or a new index."""
    statement = DUE.format(everything=EVERYTHING, large=int(LARGE), share=int(SHARE))
    return [row[0] for row in database.execute_sql(statement).fetchall()]


def tend(store_id: UUID) -> bool:
    """Give a store a table of its own if it has none, and a new index of its vectors. Returns whether it did.

    Not if the store is gone, or another process is at it. Call it outside a transaction: it takes from seconds to minutes.
    """
    release()
    try:
        if not locks.try_session_lock(f"vector_index:{store_id}"):
            return False
        tables.promote(store_id)
        return _index(store_id)
    except peewee.ProgrammingError:
        if VectorStore.select().where((VectorStore.id == store_id) & VectorStore.deleted_at.is_null()).exists():
            raise
        return False  # it was deleted meanwhile, with its table
    finally:
        database.discard()  # and with it the lock, and the settings


def _index(store_id: UUID) -> bool:
    store = VectorStore.get_or_none((VectorStore.id == store_id) & VectorStore.deleted_at.is_null())
    if store is None or not store.has_own_table:
        return False
    last, chunks = database.execute_sql(
        "select max(id), sum(chunks) from vector_edition where vector_store_id = %s", (store_id,)
    ).fetchone()
    upto = EVERYTHING if (chunks or 0) >= HUGE else int(last or 0)
    table = tables.own_table(store_id)
    _drop_others(table, _name(store_id, store.indexed_edition))  # that a killed process has left
    if upto == store.indexed_edition:
        return False
    database.execute_sql(
        f"set statement_timeout = 0; set lock_timeout = 0; set maintenance_work_mem = '{BUILD_MEMORY}'"
    )
    statement = (
        f"create index concurrently {_name(store_id, upto)} on {table} using hnsw (embedding halfvec_cosine_ops)"
    )
    database.execute_sql(f"{statement} with ({SHAPE}) where edition_id <= {upto}")
    database.execute_sql(f"analyze {table}")
    is_live = (VectorStore.id == store_id) & VectorStore.has_own_table
    VectorStore.update(indexed_edition=upto).where(is_live).execute()
    _drop_others(table, _name(store_id, upto))
    return True


def _name(store_id: UUID, upto: int) -> str:
    return f"store_{store_id.hex}_{upto}"


def _drop_others(table: str, kept: str) -> None:
    for (name,) in database.execute_sql(INDEXES, (table,)).fetchall():
        if name != kept:
            database.execute_sql(f"drop index concurrently vector_chunks.{name}")
