"""The pooled database, and what every table has: a time-ordered id, UTC timestamps, and one door to a tenant's rows."""

import functools
import os
import select
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, ClassVar, ParamSpec, TypeVar
from uuid import UUID

import peewee
import psycopg2.extras
from playhouse.pool import MaxConnectionsExceeded, PooledPostgresqlDatabase
from playhouse.postgres_ext import BinaryJSONField, DateTimeTZField

from models.principal import Principal
from models.settings import settings

psycopg2.extras.register_uuid()
Json = psycopg2.extras.Json  # a jsonb value in a statement of our own


class Database(PooledPostgresqlDatabase):
    """The pool, with two additions: whoever waits for a connection has it as soon as one is free, first come first
    served; and a connection that the server closed while it lay idle is not handed out.
    """

    def __init__(self, *args, max_connections: int, timeout: float, **more):
        super().__init__(*args, max_connections=max_connections, **more)
        self.places, self.patience = threading.BoundedSemaphore(max_connections), timeout

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

    def _is_closed(self, conn):
        # A healthy idle connection has nothing to say; readable means EOF or a farewell message.
        # Peewee's own check costs a round trip at every check-out.
        return bool(conn.closed) or _readable(conn.fileno())


def _readable(fd: int) -> bool:
    poll = select.poll()
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
P, R = ParamSpec("P"), TypeVar("R")


class NoTransaction(RuntimeError):
    """A function that writes only part of a change was called outside the transaction that would hold all of it."""


def in_transaction(function: Callable[P, R]) -> Callable[P, R]:
    """Mark a function that must run inside the caller's transaction; NoTransaction is raised outside one."""

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        if not database.in_transaction():
            raise NoTransaction(f"{function.__qualname__} must be called inside a transaction.")
        return function(*args, **kwargs)

    return checked


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
        """The row that a fixed statement returns, or None. For what runs all the time: composing it costs more than running it."""
        cursor = database.execute_sql(statement, values)
        row = cursor.fetchone()
        return cls(**dict(zip((column.name for column in cursor.description), row, strict=True))) if row else None


class TenantModel(Model):
    """A row that belongs to a tenant. Routes reach such rows through `visible_to` only.

    Every model says whose its rows are: `owner` names the column that holds a user's id, or is None where the whole
    tenant shares them. A model that does not say is refused when it is defined.
    """

    owner: ClassVar[str | None]
    tenant_id = peewee.UUIDField()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "owner" not in cls.__dict__:
            raise TypeError(f"{cls.__name__} must declare `owner`: the column of a row's user, or None.")

    @classmethod
    def visible_to(cls, principal: Principal):
        """Rows that this caller may see: the tenant's for its admins, else the caller's own. None without a tenant."""
        if principal.tenant_id is None:
            return cls.select().where(peewee.SQL("false"))
        query = cls.select().where(cls.tenant_id == principal.tenant_id)
        if principal.sees_tenant or cls.owner is None:
            return query
        if principal.user_id is None:
            return query.where(peewee.SQL("false"))
        return query.where(getattr(cls, cls.owner) == principal.user_id)


__all__ = [
    "BinaryJSONField",
    "DateTimeTZField",
    "Json",
    "Model",
    "TenantModel",
    "database",
    "in_transaction",
    "iso",
    "now",
    "parse_uuid",
    "release",
    "transaction",
    "uuid7",
]
