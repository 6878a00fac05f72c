"""Passwords: the policy, hashing, and which ones an account had before.

Hashing and judging cost tens of milliseconds of CPU: callers send them through `offload`, and hold no connection then.
"""

import string
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from zxcvbn import zxcvbn

from models.platform.errors import BadRequest

offload: Callable[..., Any] = lambda function, *args: function(*args)  # noqa: E731  the edge sends hashing to a thread
SHORTEST, LONGEST = 14, 256  # characters
JUDGED = 72  # characters that zxcvbn looks at: its time grows faster than its input
LEET, LEET_JUDGED = frozenset("4@8({[<369&6#!10|$57+%2"), 10  # different ones: each doubles its time
STRONG = 3  # of zxcvbn's 0 to 4
CATEGORIES = (str.isupper, str.islower, str.isdigit, lambda char: char in string.punctuation or char.isspace())


class PasswordRefused(BadRequest):
    code = "password_refused"


class PasswordReused(PasswordRefused):
    code, message = "password_reused", "Password was recently used."


def problem(password: str, hints: Iterable[str] = ()) -> str | None:
    """Why a password may not be chosen, None if it may. `hints` are words that make it guessable, such as the address."""
    if len(password) < SHORTEST:
        return f"Password must be at least {SHORTEST} characters long."
    if len(password) > LONGEST:
        return f"Password must be at most {LONGEST} characters long."
    if sum(any(map(kind, password)) for kind in CATEGORIES) < 2:
        return "Password must include at least two categories (upper, lower, digit, symbol)."
    if zxcvbn(_judged(password), user_inputs=list(hints))["score"] < STRONG:
        return "Password is too weak according to the current policy."
    return None


def _judged(password: str) -> str:
    """What zxcvbn looks at. It tries every way to read a password's l33t, and takes seconds if many characters are."""
    seen: set[str] = set()
    text = ""
    for char in password[:JUDGED]:
        fresh = char in LEET and char not in seen
        seen |= {char} if fresh and len(seen) < LEET_JUDGED else set()
        text += char if char not in LEET or char in seen else "_"
    return text


def choose(password: str, email: str, earlier: Iterable[str] = ()) -> str:
    """The hash of a password that meets the policy and is none of the `earlier` hashes. PasswordRefused otherwise."""
    return offload(_choose, password, email, list(earlier))


def _choose(password: str, email: str, earlier: list[str]) -> str:
    if len(password) <= LONGEST and any(matches(stored, password) for stored in earlier):
        raise PasswordReused()
    if text := problem(password, [email, *email.split("@"), *email.replace("@", ".").split(".")]):
        raise PasswordRefused(text)
    return hash_password(password)


def verify(stored: str | None, password: str) -> bool:
    """Whether it is the password. Without a stored hash the answer is no, and costs the same."""
    return offload(matches, stored or dummy_hash(), password) and stored is not None


def matches(stored: str, password: str) -> bool:
    try:
        return _hasher().verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False


def hash_password(password: str) -> str:
    return _hasher().hash(password)


def is_outdated(stored: str) -> bool:
    """Whether the hash was made with other parameters than today's."""
    return _hasher().check_needs_rehash(stored)


@cache
def _hasher() -> PasswordHasher:
    # argon2id with OWASP's parameters: 19 MiB, two passes, one lane. The library's own cost four to five times the CPU.
    return PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)


@cache
def dummy_hash() -> str:
    return _hasher().hash("no account has this password")
