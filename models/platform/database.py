"""The pooled database, and the rule about transactions."""

import functools
import hashlib
import re
import select
import threading
from collections.abc import Callable
from functools import cache
from typing import Any, ParamSpec, TypeVar

import peewee
import psycopg2.extensions
import psycopg2.extras
from gevent.monkey import get_original
from playhouse.pool import MaxConnectionsExceeded, PooledPostgresqlDatabase

from models.platform.settings import settings

psycopg2.extras.register_uuid()
Json = psycopg2.extras.Json  # a jsonb value in a statement of our own
BEGIN = b"begin"
_poll = get_original("select", "poll")  # gevent's makes watchers even where nothing is waited for


class Connection(psycopg2.extensions.connection):
    """Knows the statements that it has prepared."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.prepared: set[str] = set()


class Database(PooledPostgresqlDatabase):
    """Peewee's pool, with three additions.

    - Whoever waits for a connection gets one as soon as it is free, first come first served.
    - A connection that the server closed while it was idle is not handed out.
    - Round trips are saved: BEGIN, and statements whose answer nobody needs, travel with the statement that follows.
    """

    def __init__(self, *args: Any, max_connections: int, timeout: float, **options: Any) -> None:
        super().__init__(*args, max_connections=max_connections, connection_factory=Connection, **options)
        self.places, self.patience = threading.BoundedSemaphore(max_connections), timeout
        self.local = threading.local()  # .ahead: what this thread (or greenlet) sends with its next statement

    def connect(self, reuse_if_open: bool = False, patience: float | None = None) -> bool:
        """Wait `patience` seconds (default: DATABASE_POOL_TIMEOUT) for a free connection, then MaxConnectionsExceeded."""
        if not self.is_closed():
            return bool(super().connect(reuse_if_open))
        # Peewee's own wait can miss the notice of a free connection, and then sleeps for a second.
        patience = self.patience if patience is None else patience
        if not self.places.acquire(timeout=patience):
            raise MaxConnectionsExceeded(f"No database connection was free within {patience:g} s.")
        try:
            return bool(super().connect(reuse_if_open))
        except BaseException:
            self.places.release()
            raise

    def close(self) -> bool:
        was_open = bool(super().close())
        if was_open:
            self.places.release()
        return was_open

    def begin(self, isolation_level: str | None = None) -> None:
        if isolation_level:
            super().begin(isolation_level)
            return
        self.connection()  # raises here when none is to be had
        self.local.ahead = [BEGIN]

    def commit(self) -> None:
        ahead = self._ahead()
        if ahead == [BEGIN]:  # nothing was sent since
            self.local.ahead = []
        elif ahead:
            self._send(b"commit")
        else:
            super().commit()

    def rollback(self) -> None:
        ahead, self.local.ahead = self._ahead(), []
        if ahead[:1] != [BEGIN]:  # else the server does not even know of it
            super().rollback()

    def execute_sql(self, sql: str, params: Any = None) -> Any:
        return self._send(sql, params) if self._ahead() else super().execute_sql(sql, params)

    def execute_later(self, statement: str, values: dict[str, Any]) -> None:
        """Run a statement whose answer nobody needs: it travels with the transaction's next one, or with its end."""
        with peewee.__exception_wrapper__:
            text = self.cursor().mogrify(statement, values)
        if self.in_transaction():
            self.local.ahead = [*self._ahead(), text]
        else:
            self._send(text)

    def execute_prepared(self, statement: str, values: dict[str, Any]) -> Any:
        """A cursor with the answer to a fixed statement, which each connection prepares once.

        For what runs all the time: parsing and planning would cost more than running. Name the columns instead of `*`: a
        prepared answer must keep its columns, and migrations add some while we run.
        """
        name, text, names = _prepared(statement)
        connection = self.connection()
        if name not in connection.prepared:
            with peewee.__exception_wrapper__:
                connection.cursor().execute(f"prepare {name} as {text}")
            connection.prepared.add(name)
        return self.execute_sql(f"execute {name}({', '.join(f'%({key})s' for key in names)})", values)

    def _ahead(self) -> list[bytes]:
        return getattr(self.local, "ahead", [])

    def _send(self, statement: str | bytes, values: Any = None) -> Any:
        with peewee.__exception_wrapper__:
            cursor = self.cursor()
            text = statement if isinstance(statement, bytes) else cursor.mogrify(statement, values or ())
            ahead, self.local.ahead = self._ahead(), []
            cursor.execute(b"; ".join([*ahead, text]))
        return cursor

    def _is_closed(self, conn: Connection) -> bool:
        # A healthy idle connection has nothing to say; readable means EOF or a farewell message.
        # Peewee's own check costs a round trip at every check-out.
        return bool(conn.closed) or _readable(conn.fileno())


@cache
def _prepared(statement: str) -> tuple[str, str, list[str]]:
    """(name, text with $1 ... for %(name)s, the names in their order)."""
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", statement)))
    text = re.sub(r"%\((\w+)\)s", lambda match: f"${names.index(match[1]) + 1}", statement)
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
P = ParamSpec("P")
R = TypeVar("R")


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
