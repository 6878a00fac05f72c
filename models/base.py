"""The pooled database, and what every table has: a time-ordered id, UTC timestamps, and one door to a tenant's rows."""

import hashlib
import os
import re
import select
import threading
import time
from datetime import UTC, datetime
from functools import cache
from typing import Any
from uuid import UUID

import peewee
import psycopg2.extensions
import psycopg2.extras
from gevent.monkey import get_original
from playhouse.pool import MaxConnectionsExceeded, PooledPostgresqlDatabase
from playhouse.postgres_ext import BinaryJSONField, DateTimeTZField

from models.principal import Principal
from models.settings import settings

psycopg2.extras.register_uuid()
Json = psycopg2.extras.Json  # a jsonb value in a statement of our own
BEGIN = b"begin"
_poll = get_original("select", "poll")  # gevent's makes watchers even where nothing is waited for


class Connection(psycopg2.extensions.connection):
    """Knows the statements that it has prepared."""

    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        self.prepared: set[str] = set()


class Database(PooledPostgresqlDatabase):
    """The pool, with additions. Whoever waits for a connection has it as soon as one is free, first come first served.
    A connection that the server closed while it lay idle is not handed out. And a round trip is worth saving: BEGIN, and
    statements whose answer nobody needs, travel with the statement that follows.
    """

    def __init__(self, *args, max_connections: int, timeout: float, **more):
        super().__init__(*args, max_connections=max_connections, connection_factory=Connection, **more)
        self.places, self.patience = threading.BoundedSemaphore(max_connections), timeout
        self.waiting = threading.local()  # .ahead: what this thread (or greenlet) sends with its next statement

    def connect(self, reuse_if_open=False, patience: float | None = None):
        """Waits `patience` seconds for a free connection (DATABASE_POOL_TIMEOUT), then MaxConnectionsExceeded."""
        if not self.is_closed():
            return super().connect(reuse_if_open)
        # Peewee's own wait can miss the notice of a free connection, and then sleeps for a second.
        patience = self.patience if patience is None else patience
        if not self.places.acquire(timeout=patience):
            raise MaxConnectionsExceeded(f"No database connection was free within {patience:g} s.")
        try:
            return super().connect(reuse_if_open)
        except BaseException:
            self.places.release()
            raise

    def close(self):
        was_open = super().close()
        if was_open:
            self.places.release()
        return was_open

    def begin(self, isolation_level=None):
        if isolation_level:
            return super().begin(isolation_level)
        self.connection()  # who gets none learns it here
        self.waiting.ahead = [BEGIN]

    def commit(self):
        ahead = self._ahead()
        if ahead == [BEGIN]:  # and then nothing came
            self.waiting.ahead = []
        elif ahead:
            self._send(b"commit")
        else:
            super().commit()

    def rollback(self):
        ahead, self.waiting.ahead = self._ahead(), []
        if ahead[:1] != [BEGIN]:  # else the server does not even know of it
            super().rollback()

    def execute_sql(self, sql, params=None):
        return self._send(sql, params) if self._ahead() else super().execute_sql(sql, params)

    def later(self, statement: str, values: dict[str, Any]) -> None:
        """For a statement whose answer nobody needs: it travels with the transaction's next one, or with its end."""
        with peewee.__exception_wrapper__:
            text = self.cursor().mogrify(statement, values)
        if self.in_transaction():
            self.waiting.ahead = [*self._ahead(), text]
        else:
            self._send(text)

    def run(self, statement: str, values: dict[str, Any]):
        """A cursor with the answer to a fixed statement. Each connection prepares it once: it runs all the time, and
        parsing and planning would cost more than running. It names its columns: the answer of a prepared `*` may not
        change, and migrations add columns while we run.
        """
        name, text, names = _prepared(statement)
        connection = self.connection()
        if name not in connection.prepared:
            with peewee.__exception_wrapper__:
                connection.cursor().execute(f"prepare {name} as {text}")
            connection.prepared.add(name)
        return self.execute_sql(f"execute {name}({', '.join(f'%({key})s' for key in names)})", values)

    def _ahead(self) -> list[bytes]:
        return getattr(self.waiting, "ahead", [])

    def _send(self, statement: str | bytes, values: Any = None):
        with peewee.__exception_wrapper__:
            cursor = self.cursor()
            text = statement if isinstance(statement, bytes) else cursor.mogrify(statement, values or ())
            ahead, self.waiting.ahead = self._ahead(), []
            cursor.execute(b"; ".join([*ahead, text]))
        return cursor

    def _is_closed(self, conn):
        # A healthy idle connection has nothing to say; readable means EOF or a farewell message.
        # Peewee's own check costs a round trip at every check-out.
        return bool(conn.closed) or _readable(conn.fileno())


@cache
def _prepared(statement: str) -> tuple[str, str, list[str]]:
    """(name, text with $1 ... for %(name)s, the names in their order)"""
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", statement)))
    text = re.sub(r"%\((\w+)\)s", lambda found: f"${names.index(found[1]) + 1}", statement)
    return f"fixed_{hashlib.sha256(text.encode()).hexdigest()[:12]}", text, names


def _readable(fd: int) -> bool:
    poll = _poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


database = Database(
    settings.database_url.replace("postgres://", "postgresql://", 1),
    max_connections=settings.database_pool_size,
    timeout=settings.database_pool_timeout,
    stale_timeout=settings.database_pool_recycle,
    connect_timeout=int(settings.database_health_timeout),
    application_name=settings.app_name,
    options="-c timezone=UTC -c lock_timeout=10s -c statement_timeout=60s -c idle_in_transaction_session_timeout=60s",
)

transaction = database.atomic


def release() -> None:
    """Give this greenlet's connection back to the pool. Call before any long wait."""
    if not database.is_closed():
        database.close()


def now() -> datetime:
    return datetime.now(UTC)


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC with microseconds and Z, the wire's one format for times."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def uuid7() -> UUID:
    """A time-ordered id (RFC 9562): new rows land at the right edge of their index."""
    stamp = time.time_ns()
    milliseconds, fraction = divmod(stamp, 1_000_000)
    value = (milliseconds & 0xFFFFFFFFFFFF) << 80
    value |= 0x7 << 76 | (fraction * 4096 // 1_000_000) << 64
    value |= 0b10 << 62 | (int.from_bytes(os.urandom(8), "big") >> 2)
    return UUID(int=value)


def parse_uuid(text: object) -> UUID | None:
    """The UUID that `text` spells, or None: ids from outside are any text."""
    if isinstance(text, UUID):
        return text
    try:
        return UUID(str(text)) if len(str(text)) in (32, 36) else None
    except ValueError:
        return None


class Model(peewee.Model):
    id = peewee.UUIDField(primary_key=True, default=uuid7)
    created_at = DateTimeTZField(default=now)

    class Meta:
        database = database
        legacy_table_names = False

    @classmethod
    def lock(cls, row_id: UUID):
        """The row, locked until the end of the transaction; None when it is gone."""
        return cls.select().where(cls.id == row_id).for_update().first()

    @classmethod
    def one(cls, statement: str, **values: object):
        """The row that a fixed statement returns, or None. For what runs all the time: composing it costs more than
        running it. `{columns}` or `{table.columns}` in it stands for all columns of this model."""
        cursor = database.run(_spelled(cls, statement), values)
        row = cursor.fetchone()
        if row is None:
            return None
        return cls(__no_default__=True, **dict(zip((column[0] for column in cursor.description), row, strict=True)))


@cache
def _spelled(model: type[Model], statement: str) -> str:
    def columns(found: re.Match) -> str:
        return ", ".join((found[1] or "") + field.column_name for field in model._meta.sorted_fields)

    return re.sub(r"\{(\w+\.)?columns\}", columns, statement)


class TenantModel(Model):
    """A row that belongs to a tenant. Routes reach such rows through `visible_to` only."""

    tenant_id = peewee.UUIDField()

    @classmethod
    def visible_to(cls, principal: Principal):
        """Rows that this caller may know of: the tenant's for its admins, else the caller's own."""
        query = cls.select().where(cls.tenant_id == principal.tenant_id)
        if principal.sees_tenant or not hasattr(cls, "user_id"):
            return query
        return query.where(cls.user_id == principal.user_id)


__all__ = [
    "BinaryJSONField",
    "DateTimeTZField",
    "Json",
    "Model",
    "TenantModel",
    "database",
    "iso",
    "now",
    "parse_uuid",
    "release",
    "transaction",
    "uuid7",
]
