"""What the account holds, in one SQLite file: every object is a row with its JSON and the columns that lists ask for."""

import os
import sqlite3
import string
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

Object = dict[str, Any]

# tag    what lists are filtered by: see `objects.tag`
# clock  its test clock, '' for the account's own time
# due    when time alone changes it next
_SCHEMA = """
create table if not exists object (
    seq integer primary key autoincrement, id text not null unique, kind text not null, customer text, tag text,
    created integer, clock text not null, due integer, gone integer not null default 0, body text not null
);
create index if not exists object_kind on object (kind, seq);
create index if not exists object_tag on object (kind, tag, seq);
create index if not exists object_customer on object (customer, kind, seq);
create index if not exists object_due on object (clock, due) where due is not null;
create table if not exists meter_event (
    identifier text primary key, name text not null, customer text not null, at integer not null, value text not null,
    received integer not null, canceled integer not null default 0
) without rowid;
create index if not exists meter_event_time on meter_event (name, customer, at);
create table if not exists idempotency (
    key text primary key, fingerprint text not null, path text not null, at integer not null, request text not null,
    status integer, body text
) without rowid;
create table if not exists delivery (
    seq integer primary key autoincrement, event text not null, endpoint text not null, attempts integer not null default 0,
    due real not null, state text not null default 'waiting', answer text
);
create index if not exists delivery_due on delivery (due) where state = 'waiting';
create table if not exists setting (name text primary key, value text not null) without rowid;
"""
_ALPHABET = string.ascii_letters + string.digits


def new_id(prefix: str, length: int = 24) -> str:
    """An id as Stripe forms them: the prefix of its kind, then letters and digits."""
    return prefix + "".join([_ALPHABET[byte % len(_ALPHABET)] for byte in os.urandom(length)])


class Store:
    """One connection. Nothing waits inside a transaction, so greenlets never see each other's."""

    def __init__(self, path: Path | str) -> None:
        self.db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.db.execute("pragma journal_mode = wal")
        self.db.execute("pragma synchronous = normal")
        self.db.executescript(_SCHEMA)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; but an error whose `keeps` is true keeps what was written before it."""
        self.db.execute("begin immediate")
        try:
            yield
        except BaseException as error:
            self.db.execute("commit" if getattr(error, "keeps", False) else "rollback")
            raise
        self.db.execute("commit")

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """The same for a part of a transaction."""
        self.db.execute("savepoint part")
        try:
            yield
        except BaseException as error:
            if not getattr(error, "keeps", False):
                self.db.execute("rollback to part")
            self.db.execute("release part")
            raise
        self.db.execute("release part")

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self.db.execute(sql, values).fetchall()

    def get(self, id_: str) -> Object | None:
        """The object with this id, also if it is deleted: then it has `deleted`."""
        rows = self.rows("select body from object where id = ?", (id_,))
        return orjson.loads(rows[0][0]) if rows else None

    def put(self, item: Object, customer: str | None, tag: str | None, due: int | None) -> None:
        self.db.execute(
            "insert into object (id, kind, customer, tag, created, clock, due, gone, body) values (?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " on conflict (id) do update set customer = excluded.customer, tag = excluded.tag, due = excluded.due,"
            " gone = excluded.gone, body = excluded.body",
            (
                item["id"],
                item["object"],
                customer,
                tag,
                item.get("created"),
                item.get("test_clock") or "",
                due,
                bool(item.get("deleted")),
                orjson.dumps(item).decode(),
            ),
        )

    def find(
        self,
        kind: str,
        *,
        customer: str | None = None,
        tags: Sequence[str] | None = None,
        created: dict[str, int] | None = None,
        beyond: str | None = None,
        oldest_first: bool = False,
    ) -> Iterator[Object]:
        """The objects of a kind that are not deleted, newest first.

        created  {">=": 1764115200}: bounds of the time of creation
        beyond   only those that come after the object with this id
        They are read as they are asked for: collect them before you write any.
        """
        sql = "select body from object where kind = ? and gone = 0"
        values: list[Any] = [kind]
        if customer is not None:
            sql, values = f"{sql} and customer = ?", [*values, customer]
        if tags is not None:
            sql, values = f"{sql} and tag in ({', '.join('?' * len(tags))})", [*values, *tags]
        for operator, bound in (created or {}).items():
            sql, values = f"{sql} and created {operator} ?", [*values, bound]
        if beyond is not None:
            sql = f"{sql} and seq {'>' if oldest_first else '<'} (select seq from object where id = ?)"  # noqa: S608
            values = [*values, beyond]
        for (body,) in self.db.execute(f"{sql} order by seq {'asc' if oldest_first else 'desc'}", values):
            yield orjson.loads(body)

    def next_due(self, clock: str, until: int) -> tuple[Object, int] | None:
        """The object of this clock that time changes first, up to `until`."""
        rows = self.rows(
            "select body, due from object where clock = ? and due <= ? order by due, seq limit 1", (clock, until)
        )
        return (orjson.loads(rows[0][0]), rows[0][1]) if rows else None

    def setting(self, name: str, default: Any = None) -> Any:
        rows = self.rows("select value from setting where name = ?", (name,))
        return orjson.loads(rows[0][0]) if rows else default

    def set(self, name: str, value: Any) -> None:
        self.db.execute(
            "insert into setting values (?, ?) on conflict (name) do update set value = excluded.value",
            (name, orjson.dumps(value).decode()),
        )
