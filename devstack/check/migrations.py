"""Every migration runs up, down and up again on tables with rows, and gives the same schema both times."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import peewee
from playhouse.migrations import MigrationError, Runner

from devstack.check.rows import Filler
from devstack.check.schema import OWN, differences, snapshot
from devstack.parts.postgres import Postgres

TABLES = "select table_name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'"


class Failed(Exception):
    """A migration that raised."""


def find(root: Path) -> list[str]:
    directories = [path for path in sorted(root.glob("models/**/migrations")) if path.is_dir()]
    with database() as empty:
        return [line for directory in directories for line in problems(empty, directory)]


@contextlib.contextmanager
def database() -> Iterator[Any]:
    """Start a new, empty Postgres."""
    with tempfile.TemporaryDirectory(prefix="longshore-check-") as folder:
        part = Postgres(Path(folder))
        part.start()
        server = peewee.PostgresqlDatabase(part.url())
        try:
            yield server
        finally:
            server.close()
            part.stop()


def problems(empty: Any, directory: Path) -> Iterator[str]:
    """Run each migration up, down and up again, then all of them down. Stop at the first that fails."""
    runner = Runner(empty, str(directory))
    initial, names = snapshot(empty), [row.name for row in runner.status()]
    try:
        for name in names:
            yield from (f"{name}: {line}" for line in _there_and_back(empty, runner, name))
        for name in reversed(names):
            _step(runner.down, name)
    except Failed as failed:
        yield str(failed)
    else:
        yield from (f"after all migrations down: {line}" for line in differences(initial, snapshot(empty)))


def _there_and_back(database: Any, runner: Runner, name: str) -> Iterator[str]:
    before = snapshot(database)
    _step(runner.up, name)
    up = snapshot(database)
    yield from _fill(database)
    _step(runner.down, name)
    yield from (f"after down: {line}" for line in differences(before, snapshot(database)))
    _step(runner.up, name)
    yield from (f"after up, down, up: {line}" for line in differences(up, snapshot(database)))
    yield from _fill(database)


def _step(step: Callable[[str], list[str]], name: str) -> None:
    try:
        step(name)
    except (peewee.PeeweeException, MigrationError) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise Failed(f"{name}: {step.__name__} failed: {reason}") from error


def _fill(database: Any) -> Iterator[str]:
    tables = [name for (name,) in database.execute_sql(TABLES).fetchall() if not name.startswith(OWN)]
    yield from Filler(database).fill(tables)
