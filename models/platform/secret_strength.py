"""How hard a secret is to guess. Estimates only: they find what was typed or copied, not what a bad generator made."""

import math
from collections import Counter

KEY_LENGTH, PASSWORD_LENGTH = 32, 12  # characters
KEY_BITS = 80  # 32 random hexadecimal characters are estimated at about 105
WINDOW = 4  # characters
# fragments of what people write when they do not choose at random
PLACEHOLDERS = (
    "12345678", "abcdefgh", "change", "default", "development", "example", "letmein", "longshore", "password",
    "placeholder", "qwerty", "secret",
)  # fmt: skip


def key_weakness(secret: str) -> str | None:
    """What is wrong with a key that a machine chose, as the end of a sentence; None if it will do."""
    if len(secret) < KEY_LENGTH:
        return f"has fewer than {KEY_LENGTH} characters"
    if _is_placeholder(secret):
        return "looks like a placeholder"
    return None if entropy_bits(secret) >= KEY_BITS else "repeats itself"


def password_weakness(password: str, user: str | None) -> str | None:
    """The same for the password of a database, which may be shorter."""
    if len(password) < PASSWORD_LENGTH:
        return f"has fewer than {PASSWORD_LENGTH} characters"
    if _is_placeholder(password) or password == user:
        return "looks like a placeholder"
    return None


def entropy_bits(text: str) -> float:
    """Shannon's entropy per character, times the number of different places: a repetition adds nothing."""
    counts = Counter(text)
    per_character = -sum(count / len(text) * math.log2(count / len(text)) for count in counts.values())
    places = {text[start : start + WINDOW] for start in range(len(text) - WINDOW + 1)}
    return per_character * len(places)


def _is_placeholder(text: str) -> bool:
    return any(word in text.lower() for word in PLACEHOLDERS)
