"""Names of incidents in addresses and feeds, such as `api-slow-answers-2026-03-01`. They never change."""

import re
import secrets
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime

LONGEST_WORDS = 48  # characters of the title


def candidates(title: str, service: str, starts_at: datetime) -> Iterator[str]:
    """Slugs to try, until one is not taken yet: the plain one, two that count, and then as many as it takes."""
    plain = "-".join(part for part in (service, _words(title), f"{starts_at.astimezone(UTC):%Y-%m-%d}") if part)
    yield plain
    yield from (f"{plain}-{number}" for number in (2, 3))
    while True:
        yield f"{plain}-{secrets.token_hex(4)}"


def _words(title: str) -> str:
    letters = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", letters).strip("-")
    if len(words) <= LONGEST_WORDS:
        return words
    cut = words[: LONGEST_WORDS + 1].rsplit("-", 1)[0]
    return cut[:LONGEST_WORDS]
