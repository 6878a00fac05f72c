"""Waiting for what a job does, for as long as a request may."""

import time
from collections.abc import Callable
from typing import TypeVar

from models.platform.database import release

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.5  # seconds between two looks
T = TypeVar("T")


def wait_until(look: Callable[[], T], is_done: Callable[[T], bool], seconds: float) -> T:
    """What `look` returns once it is done, or after `seconds`. No database connection is held between two looks."""
    end, pause = time.monotonic() + seconds, FIRST_PAUSE
    while True:
        found = look()
        release()
        left = end - time.monotonic()
        if is_done(found) or left <= 0:
            return found
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, LONGEST_PAUSE)
