"""A limit of something that this process can have at once, such as bytes in memory."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from workers.agents.providers.client import Wait


class Room:
    """`size`: of all that is taken at once. Who wants more than is free waits; who wants more than there is gets all of it."""

    def __init__(self, size: int) -> None:
        self.size, self.used, self.changed = size, 0, threading.Condition()

    @contextmanager
    def taken(self, amount: int, wait: Wait) -> Iterator[None]:
        """`wait()` is entered while one waits, and may raise."""
        amount, is_taken = min(amount, self.size), False
        try:
            with wait(), self.changed:
                self.changed.wait_for(lambda: self.used + amount <= self.size)
                self.used += amount
                is_taken = True
            yield
        finally:
            if is_taken:
                with self.changed:
                    self.used -= amount
                    self.changed.notify_all()
