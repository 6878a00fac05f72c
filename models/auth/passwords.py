"""The password policy, and the decision whether a user may have a new password."""

import string
from collections.abc import Iterable

from models.auth import breached_passwords
from models.auth.password_hashing import PasswordHasher
from models.platform.errors import BadRequest

MIN_LENGTH, MAX_LENGTH = 14, 256  # characters
SCORED_LENGTH = 72  # characters that zxcvbn scores: its time grows faster than its input
LEET, MAX_SCORED_LEET = frozenset("4@8({[<369&6#!10|$57+%2"), 10  # each further l33t character doubles zxcvbn's time
MIN_SCORE = 3  # of zxcvbn's 0 to 4


class PasswordRejected(BadRequest):
    """The policy rejects the password; `message` says why."""

    code = "password_refused"


class PasswordReused(PasswordRejected):
    code, message = "password_reused", "Password was recently used."


class PasswordBreached(PasswordRejected):
    code, message = "password_breached", "Password is known from a data breach. Choose another one."


def choose_password(password: str, email: str, previous_hashes: Iterable[str] = (), *, hasher: PasswordHasher) -> str:
    """The hash of a password that satisfies the policy and matches none of the previous hashes.

    Raises PasswordReused, PasswordBreached, PasswordRejected or BreachServiceAway. Takes tens of milliseconds per hash: hold no database connection.
    """
    if len(password) <= MAX_LENGTH and any(hasher.matches(previous, password) for previous in previous_hashes):
        raise PasswordReused()
    if reason := hasher.run(rejection_reason, password, _guessable_parts(email)):
        raise PasswordRejected(reason)
    if breached_passwords.is_breached(password):
        raise PasswordBreached()
    return hasher.hash(password)


def rejection_reason(password: str, guessable: Iterable[str] = ()) -> str | None:
    """The reason a password is rejected, or None. `guessable` lists words that an attacker would try for this user."""
    if len(password) < MIN_LENGTH:
        return f"Password must be at least {MIN_LENGTH} characters long."
    if len(password) > MAX_LENGTH:
        return f"Password must be at most {MAX_LENGTH} characters long."
    if _count_categories(password) < 2:
        return "Password must include at least two categories (upper, lower, digit, symbol)."
    from zxcvbn import zxcvbn  # here: its word lists take 7 MB, and most processes never score a password

    if zxcvbn(_scored_part(password), user_inputs=list(guessable))["score"] < MIN_SCORE:
        return "Password is too weak according to the current policy."
    return None


def _guessable_parts(email: str) -> list[str]:
    return [email, *email.split("@"), *email.replace("@", ".").split(".")]


def _count_categories(password: str) -> int:
    categories = (str.isupper, str.islower, str.isdigit, _is_symbol)
    return sum(any(belongs(char) for char in password) for belongs in categories)


def _is_symbol(char: str) -> bool:
    return char in string.punctuation or char.isspace()


def _scored_part(password: str) -> str:
    """What zxcvbn scores. It tries every reading of l33t characters, and takes seconds when a password has many."""
    kept: set[str] = set()
    text = ""
    for char in password[:SCORED_LENGTH]:
        if char in LEET and len(kept) < MAX_SCORED_LEET:
            kept.add(char)
        text += char if char not in LEET or char in kept else "_"
    return text
