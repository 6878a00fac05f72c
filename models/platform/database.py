"""The pooled database, and the rule about transactions."""

import functools
import select
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import psycopg2.extras
from playhouse.pool import MaxConnectionsExceeded, PooledPostgresqlDatabase

from models.platform.settings import settings

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
