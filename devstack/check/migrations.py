"""Every migration goes up, down and up again on tables that hold rows, and leaves the schema that it left at first."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from devstack.check.rows import Filler
from devstack.check.schema import OWN, differences, snapshot

TABLES = "select table_name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'"


def find(root: Path) -> list[str]:
    directories = [path for path in sorted(root.glob("models/**/migrations")) if path.is_dir()]
    with database() as empty:
        return [line for directory in directories for line in problems(empty, directory)]


@contextlib.contextmanager
def database() -> Iterator[Any]:
    """A new, empty Postgres of our own."""
    import peewee

    from devstack.parts.postgres import Postgres

    with tempfile.TemporaryDirectory(prefix="longshore-check-") as folder:
        part = Postgres(Path(folder))
        part.start()
        found = peewee.PostgresqlDatabase(part.url())
        try:
            yield found
        finally:
            found.close()
            part.stop()


def problems(empty: Any, directory: Path) -> Iterator[str]:
    """Walks all migrations up, each with a step back, and then all the way down."""
    from playhouse.migrations import Runner

    runner = Runner(empty, str(directory))
    nothing, names = snapshot(empty), [row.name for row in runner.status()]
    for name in names:
        yield from (f"{name}: {line}" for line in _there_and_back(empty, runner, name))
    runner.down(names[0]) if names else None
    yield from (f"after all migrations down: {line}" for line in differences(nothing, snapshot(empty)))


def _there_and_back(database: Any, runner: Any, name: str) -> Iterator[str]:
    before = snapshot(database)
    runner.up(name)
    up = snapshot(database)
    yield from _fill(database)
    runner.down(name)
    yield from (f"after down: {line}" for line in differences(before, snapshot(database)))
    runner.up(name)
    yield from (f"after up, down, up: {line}" for line in differences(up, snapshot(database)))
    yield from _fill(database)


def _fill(database: Any) -> Iterator[str]:
    tables = [name for (name,) in database.execute_sql(TABLES).fetchall() if not name.startswith(OWN)]
    yield from Filler(database).fill(tables)
