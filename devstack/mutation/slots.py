"""A pytest plugin: gives each test run its own migrated database on shared servers.

Starting servers and running migrations for each mutant would take longer than its tests.
"""

import fcntl
import os
import time
from pathlib import Path
from typing import Any

import pytest

from devstack.stack import Stack

SLOTS = "LONGSHORE_MUTATION_SLOTS"  # the folder with the lock files, one per slot
lock: Any = None  # held until the process exits


@pytest.hookimpl(tryfirst=True)  # before conftest.py, which otherwise starts its own servers
def pytest_configure() -> None:
    global lock
    lock, number = _take(sorted(Path(os.environ[SLOTS]).glob("*.slot")))
    os.environ["DATABASE_URL"] = os.environ["DATABASE_URL"].replace("/longshore?", f"/longshore_{number}?")
    setattr(Stack, "migrate", lambda _: None)  # noqa: B010  mypy does not allow assigning to a method
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
