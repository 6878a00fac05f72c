"""Rows for any table: random values by type, chosen again until the table's constraints accept them."""

import random
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from graphlib import TopologicalSorter
from typing import Any

import peewee
from psycopg2.extras import Json

COLUMNS = """
select column_name, udt_name, is_nullable = 'YES', column_default is not null, character_maximum_length
from information_schema.columns
where table_schema = 'public' and table_name = %s and is_generated = 'NEVER' and identity_generation is null
order by ordinal_position"""
REFERENCES = """
select c.conrelid::regclass::text, a.attname, c.confrelid::regclass::text, f.attname
from pg_constraint c
join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
join pg_attribute f on f.attrelid = c.confrelid and f.attnum = c.confkey[1]
where c.contype = 'f' and c.connamespace = 'public'::regnamespace"""
CHECKS = """
select a.attname, pg_get_constraintdef(c.oid) from pg_constraint c
join pg_attribute a on a.attrelid = c.conrelid and a.attnum = any(c.conkey)
where c.contype = 'c' and c.conrelid = %s::regclass order by 1, 2"""
ATTEMPTS = 300


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: str
    nullable: bool
    has_default: bool
    length: int | None


class Filler:
    """Fills the tables of one database. The same seed gives the same rows."""

    def __init__(self, database: Any, seed: int = 1):
        self.database, self.random = database, random.Random(seed)  # noqa: S311  test data
        rows = database.execute_sql(REFERENCES).fetchall()
        self.references = {(table, column): (other, key) for table, column, other, key in rows}

    def fill(self, tables: list[str], rows: int = 3) -> Iterator[str]:
        """Insert rows into each table, referenced tables first. Yields a line for each table that accepts none."""
        for table in self._order(tables):
            columns = [Column(*row) for row in self.database.execute_sql(COLUMNS, (table,)).fetchall()]
            words = self._words(table)
            # The first row has a value in every column. In the others, optional columns are left out at random.
            for number in range(rows):
                if error := self._insert(table, columns, words, emptiness=0.5 * min(number, 1)):
                    yield f"no row could be inserted into {table}: {error}"
                    break

    def _order(self, tables: list[str]) -> list[str]:
        graph: dict[str, set[str]] = {table: set() for table in tables}
        for (table, _), (other, _) in self.references.items():
            if table in graph and other in graph and other != table:
                graph[table].add(other)
        return list(TopologicalSorter(graph).static_order())

    def _words(self, table: str) -> dict[str, list[str]]:
        """By column, the strings in the check constraints that name it, such as 'queued'."""
        words: dict[str, list[str]] = {}
        for column, check in self.database.execute_sql(CHECKS, (table,)).fetchall():
            words.setdefault(column, []).extend(re.findall(r"'([^']*)'::", check))
        return words

    def _insert(self, table: str, columns: list[Column], words: dict[str, list[str]], emptiness: float) -> str | None:
        error = "it has no columns"
        for attempt in range(ATTEMPTS):
            # A check may require a column to be null, so each failure makes nulls more likely.
            sparse = min(0.6, emptiness + attempt / 100)
            values = {
                c.name: self._value(table, c, words.get(c.name)) for c in columns if not self._leave_out(c, sparse)
            }
            names, marks = ", ".join(f'"{name}"' for name in values), ", ".join(["%s"] * len(values))
            try:
                with self.database.atomic():
                    statement = f'insert into "{table}" ({names}) values ({marks})'  # noqa: S608  names from our schema
                    self.database.execute_sql(statement, list(values.values()))
            except (peewee.IntegrityError, peewee.DataError, peewee.InternalError) as rejected:
                error = str(rejected).splitlines()[0]
            else:
                return None
        return error

    def _leave_out(self, column: Column, emptiness: float) -> bool:
        return (column.nullable or column.has_default) and self.random.random() < emptiness

    def _value(self, table: str, column: Column, words: list[str] | None) -> Any:
        if (table, column.name) in self.references:
            other, key = self.references[table, column.name]
            query = f'select "{key}" from "{other}" order by random() limit 1'  # noqa: S608  names from our schema
            row = self.database.execute_sql(query).fetchone()
            return row[0] if row else None
        if words and column.type in ("varchar", "text", "bpchar") and self.random.random() < 0.7:
            return self.random.choice(words)
        return self._by_type(column)

    def _by_type(self, column: Column) -> Any:
        rng = self.random
        text = f"{column.name}-{rng.randrange(10**9)}"
        makers: dict[str, Any] = {
            "uuid": lambda: str(uuid.UUID(int=rng.getrandbits(128), version=4)),
            "bool": lambda: rng.random() < 0.5,
            "int2": lambda: rng.randrange(1, 100),
            "int4": lambda: rng.randrange(1, 10_000),
            "int8": lambda: rng.randrange(1, 10_000),
            "numeric": lambda: rng.randrange(1, 100),
            "float8": rng.random,
            "timestamptz": lambda: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=rng.randrange(10**7)),
            "date": lambda: datetime(2026, 1, 1, tzinfo=UTC).date() + timedelta(days=rng.randrange(300)),
            "jsonb": lambda: Json({"a": [text]}),
            "json": lambda: Json({"a": [text]}),
            "bytea": text.encode,
            "inet": lambda: f"10.0.{rng.randrange(256)}.{rng.randrange(256)}",
            "halfvec": lambda: str([rng.random() for _ in range(3)]),
            "_text": lambda: [text],
            "_varchar": lambda: [text],
        }
        return makers[column.type]() if column.type in makers else text[-(column.length or 10_000) :]
