"""Many calls at once, and a hasher that counts what they cost."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from models.auth.password_hashing import PasswordHasher
from tests.support.accounts import CHEAP


class CountingHasher(PasswordHasher):
    """Counts the hashes it computes. Each takes `seconds` at least, so that those of a crowd overlap."""

    def __init__(self, seconds=0.0):
        super().__init__(**CHEAP)
        self.seconds, self.count, self.lock = seconds, 0, threading.Lock()

    def matches(self, password_hash, password):
        self._count()
        return super().matches(password_hash, password)

    def hash(self, password):
        self._count()
        return super().hash(password)

    def _count(self):
        with self.lock:
            self.count += 1
        time.sleep(self.seconds)

    def since(self, before):
        return self.count - before


def crowd(size, act):
    """act(0), act(1) ... all at once; their results in order."""
    from models.platform.database import release

    release()
    barrier = threading.Barrier(size)

    def one(number):
        barrier.wait(30)
        try:
            return act(number)
        finally:
            release()

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(one, range(size)))
