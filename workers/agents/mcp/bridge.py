"""From our blocking code to the SDK's asyncio and back: one event loop per process, in a thread of its own.

In a gevent worker that thread is a greenlet, like every other, and the loop waits through gevent.
"""

import asyncio
import atexit
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")
CLOSE_SECONDS = 2.0  # that the end of a process may be delayed
_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


def run(coroutine: Coroutine[Any, Any, T], seconds: float) -> T:
    """Run a coroutine in the loop and return what it returns. It is cancelled after `seconds` (TimeoutError), and when an
    interrupt ends the wait for it."""
    future = asyncio.run_coroutine_threadsafe(coroutine, _running_loop())
    try:
        return future.result(seconds)
    finally:
        future.cancel()


def at_end(close: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run it in the loop when the process ends."""

    def run_it() -> None:
        with suppress(Exception):  # the server forgets a session that nobody closes
            run(close(), CLOSE_SECONDS)

    atexit.register(run_it)


def _running_loop() -> asyncio.AbstractEventLoop:
    global _loop  # noqa: PLW0603
    with _lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="mcp", daemon=True).start()
        return _loop
