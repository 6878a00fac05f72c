"""Postgres advisory locks, one per purpose and key. They are held until the transaction or the connection ends."""

from collections.abc import Iterator
from contextlib import contextmanager

from models.platform.database import database, in_transaction

MIGRATIONS, SCHEDULER = "migrations", "scheduler"


@in_transaction
def lock(purpose: str, *key: object) -> None:
    """Wait for the lock, and hold it until the transaction ends."""
    database.execute_sql("select pg_advisory_xact_lock(hashtextextended(%s, 0))", (_name(purpose, key),))


@in_transaction
def lock_for_next(purpose: str, *key: object, is_shared: bool = False) -> None:
    """Like `lock`, but sent with the transaction's next statement, which sees what was committed until it has the lock.

    `is_shared`: with all others who take it so; who takes it alone waits for them, and they for that one.
    """
    name = "pg_advisory_xact_lock_shared" if is_shared else "pg_advisory_xact_lock"
    database.execute_later(f"select {name}(hashtextextended(%(name)s, 0))", {"name": _name(purpose, key)})


@contextmanager
def session_lock(purpose: str) -> Iterator[None]:
    """Wait for the lock, and hold it on this connection until the block ends."""
    database.execute_sql("select pg_advisory_lock(hashtextextended(%s, 0))", (purpose,))
    try:
        yield
    finally:
        database.execute_sql("select pg_advisory_unlock(hashtextextended(%s, 0))", (purpose,))


def try_session_lock(purpose: str) -> bool:
    """Take the lock until this connection is closed. False if another connection holds it."""
    row = database.execute_sql("select pg_try_advisory_lock(hashtextextended(%s, 0))", (purpose,)).fetchone()
    return bool(row[0])


def _name(purpose: str, key: tuple[object, ...]) -> str:
    return ":".join([purpose, *map(str, key)])
