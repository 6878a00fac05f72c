"""Password hashing beside the event loop: in real threads, no more than there are cores, and after everything else.

A hash takes tens of milliseconds of CPU. As greenlets those would stop every stream of the process.
"""

import _thread
import os
from collections.abc import Callable
from typing import Any

import gevent.monkey
from gevent.threadpool import ThreadPool

from models.auth import passwords

NICENESS = 10


def install() -> None:
    if gevent.monkey.is_module_patched("threading"):
        pool = ThreadPool(os.cpu_count() or 1)
        passwords.dummy_hash()  # or the first unknown address would take twice as long
        passwords.offload = lambda function, *args: pool.apply(_politely, (function, *args))


def _politely(function: Callable, *args: Any) -> Any:
    os.setpriority(os.PRIO_PROCESS, _thread.get_native_id(), NICENESS)  # Linux: of this thread alone
    return function(*args)
