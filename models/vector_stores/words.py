"""The words of a query: which of them to look for, and the chunks that hold them.

A word that is in thousands of chunks says little, and to rank all of them takes long. So chunks are found by the query's rare
words. They are then ranked by all of its words; and if all are common, so are the chunks whose meaning is near.
"""

from typing import Any

from models.platform.database import database
from models.vector_stores import tables
from models.vector_stores.query import Key, Query

MOST_WORDS = 32  # of a query
RANKED = 500  # chunks that are ranked, more or less

LEXEMES = "select tsvector_to_array(to_tsvector('english', %s))"
# What Postgres knows since it last analysed the table: (word, the share of chunks that hold it), of the most common words.
COMMON = """
select word, share * greatest(reltuples, 0)
from pg_stats s join pg_class c on c.oid = %s::regclass, unnest(most_common_elems::text::text[], most_common_elem_freqs) known (word, share)
where s.schemaname || '.' || s.tablename = %s and s.attname = 'search' and word = any(%s)"""
HOLDING = """
select c.edition_id, c.position from {table} c
where c.vector_store_id = %s and c.search @@ %s::tsquery and (
    select f.deleted_at is null and f.vector_store_id = %s and {matching}
    from vector_store_file f where f.edition_id = c.edition_id)
order by ts_rank(c.search, %s::tsquery, 1) desc, 1, 2 limit %s"""
AMONG = """
select c.edition_id, c.position from (
    select unnest(%s::bigint[]) as edition_id, unnest(%s::integer[]) as position
) near join {table} c on c.vector_store_id = %s and c.edition_id = near.edition_id and c.position = near.position
where c.search @@ %s::tsquery order by ts_rank(c.search, %s::tsquery, 1) desc, 1, 2"""


def lexemes(text: str) -> list[str]:
    """The words of a text as the index has them, at most MOST_WORDS. None if all are too common to mean anything."""
    found = database.execute_sql(LEXEMES, (text.replace("\x00", " ").encode("utf-8", "replace").decode(),)).fetchone()[
        0
    ]
    return list(found)[:MOST_WORDS]


def ranked(query: Query, lexemes: list[str], depth: int, near: list[Key]) -> list[Key]:
    """The chunks that hold some of the words, the best first, at most `depth`."""
    rare = _rare(query.table, lexemes)
    if not rare and not near:
        rare = lexemes[:1]
    if rare:
        values = (query.store_id, _any_of(rare), query.store_id, *query.values, _any_of(lexemes), depth)
        rows = database.execute_sql(query.sql(HOLDING), values).fetchall()
    else:
        editions, positions = zip(*near, strict=True)
        any_word = _any_of(lexemes)
        values = (list(editions), list(positions), query.store_id, any_word, any_word)
        rows = database.execute_sql(query.sql(AMONG), values).fetchall()
    return [(edition, position) for edition, position in rows]


def _rare(table: str, lexemes: list[str]) -> list[str]:
    """The words that so few chunks hold that all of these chunks can be ranked."""
    if table == tables.SHARED:
        return lexemes
    counts: dict[str, Any] = dict(database.execute_sql(COMMON, (table, table, lexemes)).fetchall())
    rare, total = [], 0.0
    for lexeme in sorted(lexemes, key=lambda word: counts.get(word, 0)):
        total += counts.get(lexeme, 0)
        if total > RANKED:
            break
        rare.append(lexeme)
    return rare


def _any_of(lexemes: list[str]) -> str:
    quoted = (lexeme.replace("\\", "\\\\").replace("'", "''") for lexeme in lexemes)
    return " | ".join(f"'{lexeme}'" for lexeme in quoted)
