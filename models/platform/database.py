"""The pooled database, and the rule about transactions."""

import functools
import hashlib
import re
import select
import threading
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import peewee
import psycopg2.extensions
import psycopg2.extras
from gevent.monkey import get_original
from playhouse.pool import MaxConnectionsExceeded

from models.platform.settings import settings

if TYPE_CHECKING:
    from peewee import PostgresqlDatabase as PooledPostgresqlDatabase  # the same for a reader, and it has type stubs
else:
    from playhouse.pool import PooledPostgresqlDatabase

psycopg2.extras.register_uuid()
Json = psycopg2.extras.Json  # marks a value as jsonb in our own SQL
BEGIN = b"begin"
_poll = get_original("select", "poll")  # gevent's own version creates watchers, even if nothing has to be waited for
_peewee_errors = peewee.__exception_wrapper__  # type: ignore[attr-defined]  # turns psycopg2's errors into peewee's


class Connection(psycopg2.extensions.connection):
    """Remembers which statements it has prepared."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.prepared: set[str] = set()


class Savepoint(peewee._savepoint):  # noqa: SLF001  (peewee has no other way)
    """A part of a transaction. If it is rolled back, what it wanted done after the commit is not done: peewee keeps that."""

    def __enter__(self) -> "Savepoint":
        self.callbacks = self.db._state.commit_callbacks  # noqa: SLF001
        self.kept = len(self.callbacks)
        super().__enter__()
        return self

    def rollback(self, begin: bool = True) -> None:
        del self.callbacks[self.kept :]
        super().rollback(begin)


class Database(PooledPostgresqlDatabase):
    """Peewee's pool, with four additions.

    - Callers that wait for a connection get one as soon as it is free, in the order in which they came.
    - A connection that the server closed while it was idle is not handed out.
    - BEGIN, and statements whose result nobody needs, are sent together with the next statement: fewer round trips.
    - A part of a transaction that is rolled back leaves nothing to do after the commit.
    """

    def __init__(self, *args: Any, max_connections: int, timeout: float, **options: Any) -> None:
        """`timeout`: seconds that `connect` waits for a free connection."""
        super().__init__(*args, max_connections=max_connections, connection_factory=Connection, **options)
        self.slots, self.connect_timeout = threading.BoundedSemaphore(max_connections), timeout
        self.local = threading.local()  # .deferred: what this thread (or greenlet) sends with its next statement

    if TYPE_CHECKING:  # the stubs do not say what these return

        def connection(self) -> Connection: ...
        def cursor(self, named_cursor: bool | None = None) -> Any: ...

    def connect(self, reuse_if_open: bool = False, timeout: float | None = None) -> bool:
        """Wait `timeout` seconds (default: the pool's) for a free connection. MaxConnectionsExceeded if none gets free."""
        if not self.is_closed():
            return bool(super().connect(reuse_if_open))
        # Peewee's own wait can miss that a connection became free, and then sleeps for a second.
        timeout = self.connect_timeout if timeout is None else timeout
        if not self.slots.acquire(timeout=timeout):
            raise MaxConnectionsExceeded(f"No database connection was free within {timeout:g} s.")
        try:
            return bool(super().connect(reuse_if_open))
        except BaseException:
            self.slots.release()
            raise

    def close(self) -> bool:
        was_open = bool(super().close())
        if was_open:
            self.slots.release()
        return was_open

    def discard(self) -> None:
        """Close this thread's connection for good, instead of returning it to the pool."""
        self.manual_close()  # type: ignore[attr-defined]

    def savepoint(self) -> Savepoint:
        return Savepoint(self)

    def begin(self, isolation_level: str | None = None) -> None:
        if isolation_level:
            super().begin(isolation_level)
            return
        self.connection()  # raises now, not at the first statement, if there is none to be had
        self.local.deferred = [BEGIN]

    def commit(self) -> None:
        deferred = self._deferred()
        if deferred == [BEGIN]:  # nothing was sent since
            self.local.deferred = []
        elif deferred:
            self._send(b"commit")
        else:
            super().commit()

    def rollback(self) -> None:
        deferred, self.local.deferred = self._deferred(), []
        if deferred[:1] != [BEGIN]:  # otherwise the server does not know of the transaction yet
            super().rollback()

    def execute_sql(self, sql: str, params: Any = None) -> Any:
        return self._send(sql, params) if self._deferred() else super().execute_sql(sql, params)  # type: ignore[no-untyped-call]

    def execute_later(self, statement: str, values: dict[str, Any]) -> None:
        """Run a statement whose result nobody needs. In a transaction it is sent with the next one, or the commit."""
        with _peewee_errors:
            text: bytes = self.cursor().mogrify(statement, values)
        if self.in_transaction():
            self.local.deferred = [*self._deferred(), text]
        else:
            self._send(text)

    def execute_prepared(self, statement: str, values: dict[str, Any]) -> Any:
        """Run a fixed statement, which each connection prepares once, and return its cursor.

        For hot paths, where parsing and planning cost more than running. The statement names its columns instead of
        `*`: a prepared statement must not change its result when a migration adds a column.
        """
        name, text, call = _prepared(statement)
        connection = self.connection()
        if name not in connection.prepared:
            with _peewee_errors:
                connection.cursor().execute(f"prepare {name} as {text}")
            connection.prepared.add(name)
        return self.execute_sql(call, values)

    def _deferred(self) -> list[bytes]:
        deferred: list[bytes] = getattr(self.local, "deferred", [])
        return deferred

    def _send(self, statement: str | bytes, values: Any = None) -> Any:
        with _peewee_errors:
            cursor = self.cursor()
            text = statement if isinstance(statement, bytes) else cursor.mogrify(statement, values or ())
            deferred, self.local.deferred = self._deferred(), []
            cursor.execute(b"; ".join([*deferred, text]))
        return cursor

    def _is_closed(self, conn: Connection) -> bool:
        # A healthy idle connection is silent: if it is readable, the server has closed it or is about to.
        # Peewee's own check costs a round trip per use.
        return bool(conn.closed) or _readable(conn.fileno())


@cache
def _prepared(statement: str) -> tuple[str, str, str]:
    """(name, text with $1 ... instead of %(name)s, the statement that executes it)."""
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", statement)))
    text = re.sub(r"%\((\w+)\)s", lambda match: f"${names.index(match[1]) + 1}", statement)
    name = f"fixed_{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    values = ", ".join(f"%({key})s" for key in names)
    return name, text, f"execute {name}({values})" if values else f"execute {name}"


def _readable(fd: int) -> bool:
    poll = _poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


database = Database(
    settings.database_url.get_secret_value().replace("postgres://", "postgresql://", 1),
    max_connections=settings.database_pool_size,
    timeout=settings.database_pool_timeout,
    stale_timeout=settings.database_pool_recycle,
    connect_timeout=int(settings.database_health_timeout),
    application_name=settings.app_name,
    # Our queries are short: to start parallel workers takes longer than they save.
    options="-c timezone=UTC -c lock_timeout=10s -c statement_timeout=60s -c idle_in_transaction_session_timeout=60s"
    " -c max_parallel_workers_per_gather=0",
)

transaction = database.atomic
P = ParamSpec("P")
R = TypeVar("R")


class NoTransaction(RuntimeError):
    """A function that writes only a part of a change was called outside a transaction."""


def in_transaction(function: Callable[P, R]) -> Callable[P, R]:
    """Mark a function that must be called inside a transaction. Otherwise it raises NoTransaction."""

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        if not database.in_transaction():
            raise NoTransaction(f"{function.__qualname__} must be called inside a transaction.")
        return function(*args, **kwargs)

    return checked


def release() -> None:
    """Give this thread's (or greenlet's) connection back to the pool. Call it before any long wait."""
    if not database.is_closed():
        database.close()
