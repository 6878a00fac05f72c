"""A pytest plugin: gives each run a migrated database of its own on the servers that all runs share.

Starting servers and migrating for every mutant would take longer than testing it.
"""

import fcntl
import os
import time
from pathlib import Path
from typing import Any

import pytest

from devstack.stack import Stack

SLOTS = "LONGSHORE_MUTATION_SLOTS"  # the folder of the locks, one file per slot
lock: Any = None  # open for as long as the process lives


@pytest.hookimpl(tryfirst=True)  # before conftest.py, which starts servers of its own where none are named
def pytest_configure() -> None:
    global lock
    lock, number = _take(sorted(Path(os.environ[SLOTS]).glob("*.slot")))
    os.environ["DATABASE_URL"] = os.environ["DATABASE_URL"].replace("/longshore?", f"/longshore_{number}?")
    setattr(Stack, "migrate", lambda _: None)  # noqa: B010  a method may not be assigned to, says mypy
    os.environ["REDIS_URL"] = f"{os.environ['REDIS_URL'].rsplit('/', 1)[0]}/{2 * number}"


def _take(files: list[Path]) -> tuple[Any, int]:
    while True:
        for file in files:
            lock = file.open()
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
            else:
                return lock, int(file.stem)
        time.sleep(0.05)
