"""Hashing passwords with argon2id, on the thread that the process sets aside for CPU work."""

from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar

import argon2
from argon2.exceptions import InvalidHashError, VerificationError

P = ParamSpec("P")
R = TypeVar("R")


class RunCpuWork(Protocol):
    """How a process runs a function that needs the CPU for tens of milliseconds; returns the function's result."""

    def __call__(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...


def run_here(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Run it on the calling thread: right for commands and tests, wrong for a process that serves streams."""
    return function(*args, **kwargs)


class PasswordHasher:
    """argon2id. `memory_cost` is in KiB; `run` decides which thread does the work.

    The defaults are OWASP's minimum: 19 MiB, two passes, one lane. argon2-cffi's defaults take four to five times the
    CPU time. Give the database connection back (`release()`) before calling: a hash takes about 30 ms.
    """

    def __init__(
        self, *, time_cost: int = 2, memory_cost: int = 19_456, parallelism: int = 1, run: RunCpuWork = run_here
    ):
        self.run = run
        self._argon2 = argon2.PasswordHasher(time_cost=time_cost, memory_cost=memory_cost, parallelism=parallelism)
        self._hash_of_nobody = self._argon2.hash("no account has this password")

    def hash(self, password: str) -> str:
        """A new salted hash, in argon2's own text format."""
        return self.run(self._argon2.hash, password)

    def matches(self, password_hash: str, password: str) -> bool:
        """Whether the hash was made from this password. False for text that is not an argon2 hash."""
        return self.run(self._matches, password_hash, password)

    def verify(self, password_hash: str | None, password: str) -> bool:
        """Like `matches`; without a hash it returns False after the same amount of work."""
        matches = self.matches(password_hash or self._hash_of_nobody, password)
        return matches and password_hash is not None

    def is_outdated(self, password_hash: str) -> bool:
        """Whether the hash was made with parameters other than this hasher's."""
        return self._argon2.check_needs_rehash(password_hash)

    def _matches(self, password_hash: str, password: str) -> bool:
        try:
            return self._argon2.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False
