"""Rows for any table: plausible values by type, drawn again until the table's own checks accept them."""

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
CHECKS = "select pg_get_constraintdef(oid) from pg_constraint where contype = 'c' and conrelid = %s::regclass"
ATTEMPTS = 300


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: str
    nullable: bool
    has_default: bool
    length: int | None


class Filler:
    """Fills the tables of one database. The same seed draws the same rows."""

    def __init__(self, database: Any, seed: int = 1):
        self.database, self.random = database, random.Random(seed)  # noqa: S311  rows of a test
        rows = database.execute_sql(REFERENCES).fetchall()
        self.references = {(table, column): (other, key) for table, column, other, key in rows}

    def fill(self, tables: list[str], rows: int = 3) -> Iterator[str]:
        """Put rows into each table, those that others refer to first. One line for each table that takes none."""
        for table in self._order(tables):
            columns = [Column(*row) for row in self.database.execute_sql(COLUMNS, (table,)).fetchall()]
            words = self._words(table)
            # The first row has every column filled, the others are as empty as chance wants them.
            for number in range(rows):
                if error := self._insert(table, columns, words, emptiness=0.5 * min(number, 1)):
                    yield f"no row fits into {table}: {error}"
                    break

    def _order(self, tables: list[str]) -> list[str]:
        graph: dict[str, set[str]] = {table: set() for table in tables}
        for (table, _), (other, _) in self.references.items():
            if table in graph and other in graph and other != table:
                graph[table].add(other)
        return list(TopologicalSorter(graph).static_order())

    def _words(self, table: str) -> list[str]:
        """The texts that the table's checks name: values such as 'queued'."""
        checks = self.database.execute_sql(CHECKS, (table,)).fetchall()
        return [word for (check,) in checks for word in re.findall(r"'([^']*)'::", check)]

    def _insert(self, table: str, columns: list[Column], words: list[str], emptiness: float) -> str | None:
        error = "it has no columns"
        for attempt in range(ATTEMPTS):
            # What a check wants empty is found in time: every failure makes emptiness more likely.
            sparse = min(0.6, emptiness + attempt / 100)
            values = {c.name: self._value(table, c, words) for c in columns if not self._leave_out(c, sparse)}
            names, marks = ", ".join(f'"{name}"' for name in values), ", ".join(["%s"] * len(values))
            try:
                with self.database.atomic():
                    statement = f'insert into "{table}" ({names}) values ({marks})'  # noqa: S608  names of our own
                    self.database.execute_sql(statement, list(values.values()))
            except (peewee.IntegrityError, peewee.DataError, peewee.InternalError) as refused:
                error = str(refused).splitlines()[0]
            else:
                return None
        return error

    def _leave_out(self, column: Column, emptiness: float) -> bool:
        return (column.nullable or column.has_default) and self.random.random() < emptiness

    def _value(self, table: str, column: Column, words: list[str]) -> Any:
        if (table, column.name) in self.references:
            other, key = self.references[table, column.name]
            query = f'select "{key}" from "{other}" order by random() limit 1'  # noqa: S608  names of our own
            row = self.database.execute_sql(query).fetchone()
            return row[0] if row else None
        if words and column.type in ("varchar", "text", "bpchar") and self.random.random() < 0.7:
            return self.random.choice(words)
        return self._by_type(column)

    def _by_type(self, column: Column) -> Any:
        chance = self.random
        text = f"{column.name}-{chance.randrange(10**9)}"
        makers: dict[str, Any] = {
            "uuid": lambda: str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            "bool": lambda: chance.random() < 0.5,
            "int2": lambda: chance.randrange(1, 100),
            "int4": lambda: chance.randrange(1, 10_000),
            "int8": lambda: chance.randrange(1, 10_000),
            "numeric": lambda: chance.randrange(1, 100),
            "float8": chance.random,
            "timestamptz": lambda: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=chance.randrange(10**7)),
            "date": lambda: datetime(2026, 1, 1, tzinfo=UTC).date() + timedelta(days=chance.randrange(300)),
            "jsonb": lambda: Json({"a": [text]}),
            "json": lambda: Json({"a": [text]}),
            "bytea": text.encode,
            "inet": lambda: f"10.0.{chance.randrange(256)}.{chance.randrange(256)}",
            "_text": lambda: [text],
            "_varchar": lambda: [text],
        }
        return makers[column.type]() if column.type in makers else text[-(column.length or 10_000) :]
