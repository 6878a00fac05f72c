"""The edge's password hasher: it works in real threads, one per core, at low priority. Callers wait in a bounded line.

A hash takes tens of milliseconds of CPU time. In a greenlet it would stall every stream of the process.
"""

import _thread
import functools
import os
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import falcon
import gevent.monkey
from gevent.threadpool import ThreadPool

from edge import metrics
from edge.line import Line, LineFull
from edge.request import Request
from models.auth.password_hashing import PasswordHasher
from models.platform.database import release
from models.platform.errors import Unavailable
from models.platform.settings import settings

P = ParamSpec("P")
R = TypeVar("R")
NICENESS = 10
THREADS = os.cpu_count() or 1
line = Line(2 * THREADS)  # two per thread: one hashes while the other reads and writes its rows


class HashingBusy(Unavailable):
    code, message = "too_busy", "Too many passwords are being checked at the moment. Retry shortly."


def in_line(function: Callable[..., R]) -> Callable[..., R]:
    """Mark a responder that hashes passwords. HashingBusy (503), before any of its work, if the line is full."""

    @functools.wraps(function)
    def responder(resource: object, req: Request, resp: falcon.Response, **params: Any) -> R:
        release()  # what the guard may have used
        network = req.context.client.wide_network
        try:
            line.enter(network, settings.hashing_line_limit, settings.hashing_line_limit_per_network)
        except LineFull:
            metrics.REFUSED.labels("passwords").inc()
            raise HashingBusy() from None
        try:
            return function(resource, req, resp, **params)
        finally:
            line.leave()

    return responder


def build_hasher() -> PasswordHasher:
    """A hasher that uses threads if this process runs on gevent, and the calling thread otherwise."""
    if gevent.monkey.is_module_patched("threading"):
        return PasswordHasher(run=LowPriorityThreads(THREADS))
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
