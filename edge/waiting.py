"""Waiting, for as long as a request may, until a job has done what is asked for. No database connection is held meanwhile."""

import time
from collections.abc import Callable
from typing import TypeVar

from models.platform.database import release

T = TypeVar("T")
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.5  # seconds between two looks


def until(look: Callable[[], tuple[T, bool]], seconds: float) -> T:
    """Call `look` with growing pauses until it says that this is it, or the time is over. Returns what it saw last.

    It returns (what it sees, whether it is done), and may raise.
    """
    end, pause = time.monotonic() + seconds, FIRST_PAUSE
    while True:
        seen, is_done = look()
        release()
        left = end - time.monotonic()
        if is_done or left <= 0:
            return seen
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, LONGEST_PAUSE)
