"""The edge's password hasher: it works in real threads, one per core, at low priority.

A hash takes tens of milliseconds of CPU time. In a greenlet it would stall every stream of the process.
"""

import _thread
import os
from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import gevent.monkey
from gevent.threadpool import ThreadPool

from models.auth.password_hashing import PasswordHasher

P = ParamSpec("P")
R = TypeVar("R")
NICENESS = 10


def build_hasher() -> PasswordHasher:
    """A hasher that uses threads if this process runs on gevent, and the calling thread otherwise."""
    if gevent.monkey.is_module_patched("threading"):
        return PasswordHasher(run=LowPriorityThreads(os.cpu_count() or 1))
    return PasswordHasher()


class LowPriorityThreads:
    """Runs functions in a pool of threads that yield the CPU to everything else; only the calling greenlet waits."""

    def __init__(self, size: int):
        self.pool = ThreadPool(size)

    def __call__(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return cast(R, self.pool.apply(_with_low_priority, (function, *args), kwargs))


def _with_low_priority(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    os.setpriority(os.PRIO_PROCESS, _thread.get_native_id(), NICENESS)  # on Linux: for this thread only
    return function(*args, **kwargs)
