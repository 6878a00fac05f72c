"""Search in a vector store of ours: by meaning, by words, and both fused by reciprocal rank."""

import math
from dataclasses import dataclass, replace
from typing import Any

import peewee

from models.platform.database import database
from models.vector_stores import filters as parsing
from models.vector_stores import indexes, tables, words
from models.vector_stores import ranking as ranks
from models.vector_stores.chunks import DimensionsDiffer, numbers
from models.vector_stores.files import VectorStoreFile
from models.vector_stores.filters import Condition
from models.vector_stores.query import Key, Query
from models.vector_stores.ranking import Ranking
from models.vector_stores.stores import VectorStore

LONGEST_QUERY = 10_000  # characters of a query whose words are looked for
DEEPEST = 50  # ranks that are fused, at least
FEW = 10_000  # chunks of matching files, up to which all are compared
LISTED = 100  # candidates that the index keeps in mind: more finds more, and takes longer
SCANNED = 40_000  # chunks that the index visits until it gives up finding matching ones

# Every statement of a search sees the same moment, also while the store is moved to a table of its own.
SETTINGS = """
set local hnsw.iterative_scan = relaxed_order; set local hnsw.ef_search = {listed};
set local hnsw.max_scan_tuples = {scanned}; set local random_page_cost = 1.1; set local enable_seqscan = off"""
STORE = """
select has_own_table, indexed_edition, dimensions from vector_store where id = %s and deleted_at is null"""
INDEXED_CHUNKS = """
select coalesce(sum(f.chunk_count), 0) from vector_store_file f
where f.vector_store_id = %s and f.deleted_at is null and f.edition_id <= %s and {matching}"""
# `+ 0`: not by the index, which may miss some.
COMPARED = """
select c.edition_id, c.position, c.embedding <=> %s::halfvec({dimensions}) as distance
from vector_store_file f join {table} c on c.edition_id = f.edition_id
where f.vector_store_id = %s and c.vector_store_id = %s and f.deleted_at is null and f.edition_id > %s and {matching}
order by (c.embedding <=> %s::halfvec({dimensions})) + 0, 1, 2 limit %s"""
# A subquery for each chunk that the index finds, not a join: that could make Postgres ignore the index.
INDEXED = """
select c.edition_id, c.position, c.embedding <=> %s::halfvec({dimensions}) as distance from {table} c
where c.edition_id <= {upto} and c.vector_store_id = %s and (
    select f.deleted_at is null and f.vector_store_id = %s and {matching}
    from vector_store_file f where f.edition_id = c.edition_id)
order by c.embedding <=> %s::halfvec({dimensions}) limit %s"""
FOUND = """
select {file_columns}, c.edition_id, c.position, c.page, c.text from (
    select unnest(%s::bigint[]) as edition_id, unnest(%s::integer[]) as position
) hit
join {table} c on c.vector_store_id = %s and c.edition_id = hit.edition_id and c.position = hit.position
join vector_store_file f on f.edition_id = c.edition_id"""


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that was found. `score` is 0 to 1, higher is better: docs/vector_stores.md#search. `position`: of the chunk in
    its file, from 0. `page`: from 1; None if the file has no pages. `similarity`: of the meaning, the cosine, 0 to 1; None
    if it was found by its words only."""

    file: VectorStoreFile
    score: float
    text: str
    page: int | None
    position: int
    similarity: float | None


def search(
    store: VectorStore,
    *,
    vector: list[float] | bytes | None,
    text: str,
    filters: Any = None,
    limit: int = 10,
    ranking: Ranking | dict[str, Any] | None = None,
) -> list[Hit]:
    """The best chunks of a store, at most `limit`; the best first. A file is found as often as its chunks are.

    `vector`: of the query, by the store's model; None looks for the words of `text` only. `filters`, `ranking`: as clients
    send them, see filters.parse and ranking.parse. Call it outside a transaction; it holds a connection for a few
    milliseconds. InvalidFilters, InvalidRanking, InvalidVector, DimensionsDiffer.
    """
    condition = parsing.parse(filters)
    order = ranking if isinstance(ranking, Ranking) else ranks.parse(ranking)
    meaning = None if vector is None else numbers(vector)
    if meaning is None:
        order = replace(order, embedding_weight=0.0, text_weight=1.0)
    try:
        with database.atomic("REPEATABLE READ"):
            query = _begin(store, condition, limit)
            if query is None:
                return []
            if meaning is not None and len(meaning) != query.dimensions:
                raise DimensionsDiffer(details={"expected": query.dimensions, "actual": len(meaning)})
            return _search(query, meaning, text, order)
    except peewee.ProgrammingError:
        if _is_gone(store):  # its table was dropped after the search had begun
            return []
        raise


def _begin(store: VectorStore, condition: Condition | None, limit: int) -> Query | None:
    listed = max(LISTED, min(1000, 2 * limit))
    database.execute_later(SETTINGS.format(listed=listed, scanned=SCANNED), {})
    row = database.execute_sql(STORE, (store.id,)).fetchone()
    if row is None or row[2] is None:  # or nothing was ever written to it
        return None
    has_own_table, upto, dimensions = row
    table = tables.own_table(store.id) if has_own_table else tables.SHARED
    return Query(store.id, table, dimensions, condition, upto, limit)


def _search(query: Query, meaning: list[float] | None, text: str, order: Ranking) -> list[Hit]:
    lexemes = words.lexemes(text[:LONGEST_QUERY]) if order.text_weight else []
    is_fused = bool(lexemes) and order.embedding_weight > 0
    depth = max(DEEPEST, query.limit) if is_fused else query.limit
    near = _near(query, meaning, depth) if meaning and order.embedding_weight else {}
    by_words = words.ranked(query, lexemes, depth, list(near)) if lexemes else []
    if is_fused or not near:
        meant = {key: rank for rank, key in enumerate(near)}
        worded = {key: rank for rank, key in enumerate(by_words)}
        scores = {key: order.fuse(meant.get(key), worded.get(key)) for key in meant | worded}
    else:  # one rank, whose order the similarity gives, too
        scores = near
    best = sorted(scores, key=lambda key: (-scores[key], key))[: query.limit]
    chosen = [key for key in best if scores[key] >= order.score_threshold]
    return _hits(query, chosen, scores, near)


def _near(query: Query, meaning: list[float], depth: int) -> dict[Key, float]:
    """The similarity of the chunks whose meaning is nearest, the nearest first."""
    vector = f"[{','.join(map(repr, meaning))}]"
    ids, end = (query.store_id, query.store_id), (*query.values, vector, depth)
    rows = []
    if _is_quicker_by_index(query):
        rows = database.execute_sql(query.sql(INDEXED), (vector, *ids, *end)).fetchall()
    compared_after = query.upto if len(rows) == depth else 0  # the index may give up before it has found so many
    if compared_after < indexes.EVERYTHING:
        after = (vector, *ids, compared_after, *end)
        rows = (rows if compared_after else []) + database.execute_sql(query.sql(COMPARED), after).fetchall()
    near = {(edition, position): _similarity(distance) for edition, position, distance in rows}
    return dict(sorted(near.items(), key=lambda item: (-item[1], item[0]))[:depth])


def _is_quicker_by_index(query: Query) -> bool:
    """Whether the index is asked, and not all chunks compared that it has: not if a filter leaves few of them."""
    if not query.upto or query.condition is None:
        return bool(query.upto)
    values = (query.store_id, query.upto, *query.values)
    return bool(database.execute_sql(query.sql(INDEXED_CHUNKS), values).fetchone()[0] > FEW)


def _similarity(distance: float) -> float:
    return 0.0 if math.isnan(distance) else min(1.0, max(0.0, 1 - distance))  # it is NaN for a vector of zeros


def _hits(query: Query, keys: list[Key], scores: dict[Key, float], near: dict[Key, float]) -> list[Hit]:
    if not keys:
        return []
    columns = [field.column_name for field in VectorStoreFile._meta.sorted_fields]  # noqa: SLF001  (peewee documents it)
    statement = query.sql(FOUND, file_columns=", ".join(f"f.{name}" for name in columns))
    editions, positions = zip(*keys, strict=True)
    rows = database.execute_sql(statement, (list(editions), list(positions), query.store_id)).fetchall()
    hits = {}
    for *file_columns, edition, position, page, text in rows:
        file = VectorStoreFile(__no_default__=True, **dict(zip(columns, file_columns, strict=True)))
        key = (edition, position)
        hits[key] = Hit(file, min(1.0, scores[key]), text, page, position, near.get(key))
    return [hits[key] for key in keys]


def _is_gone(store: VectorStore) -> bool:
    return not VectorStore.select().where((VectorStore.id == store.id) & VectorStore.deleted_at.is_null()).exists()
