"""Passwords known from breaches: in a file that is mapped into memory, or by a service that learns five hexadecimal digits.

The file has the first eight bytes of each SHA-1 hash, in order. Of ten million entries, one new password in two trillion
is refused by mistake. `python -m models breached-passwords build` makes it.
"""

import bisect
import hashlib
import mmap
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from models.auth import breached_range
from models.platform.settings import settings

MAGIC = b"breached-sha1/1\n"  # the file begins with it
WIDTH = 8  # bytes of each hash that are kept


class BreachListInvalid(Exception):
    """The file, or the download that it is made from, cannot be used; the message says why."""


class BreachList:
    """The prefixes in a file, in order. Looking one up reads a few pages, which all processes share."""

    def __init__(self, path: Path):
        """Raises BreachListInvalid."""
        try:
            with path.open("rb") as file:
                self.data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:  # ValueError: an empty file
            raise BreachListInvalid(f"{path} cannot be read: {error}") from None
        self.length, rest = divmod(len(self.data) - len(MAGIC), WIDTH)
        if self.data[: len(MAGIC)] != MAGIC or rest:
            raise BreachListInvalid(f"{path} is not a list that `breached-passwords build` has made.")

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> bytes:
        start = len(MAGIC) + number * WIDTH
        return self.data[start : start + WIDTH]

    def __contains__(self, prefix: bytes) -> bool:
        place = bisect.bisect_left(self, prefix)
        return place < self.length and self[place] == prefix


def is_breached(password: str) -> bool:
    """Whether the list or the service knows the password. May wait for the service: hold no database connection.

    Raises BreachServiceAway, if the service does not answer and BREACH_SERVICE_REQUIRED is set.
    """
    digest = hashlib.sha1(password.encode(errors="surrogatepass"), usedforsecurity=False).digest()
    listed = breach_list()
    if listed is not None and digest[:WIDTH] in listed:
        return True
    return breached_range.is_known(digest) if settings.breach_service else False


def breach_list() -> BreachList | None:
    """The list of BREACH_LIST_PATH; None without one. Raises BreachListInvalid."""
    return _open(settings.breach_list_path) if settings.breach_list_path else None


def require_usable() -> None:
    """SystemExit, if BREACH_LIST_PATH names something that is not a list."""
    try:
        breach_list()
    except BreachListInvalid as error:
        raise SystemExit(f"BREACH_LIST_PATH: {error}") from None


@cache
def _open(path: str) -> BreachList:
    return BreachList(Path(path))


def build(lines: Iterable[str], target: Path, minimum_count: int = 1) -> int:
    """Write the list of a download in the form `SHA1:COUNT`, in the order of the hashes. Returns its length.

    The file appears when it is complete. Raises BreachListInvalid or OSError.
    """
    part, length = target.with_name(f"{target.name}.part"), 0
    try:
        with part.open("wb") as file:
            file.write(MAGIC)
            for prefix in _prefixes(lines, minimum_count):
                file.write(prefix)
                length += 1
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return length


def _prefixes(lines: Iterable[str], minimum_count: int) -> Iterator[bytes]:
    last = b""
    for number, line in enumerate(lines, start=1):
        prefix, count = _parse(line, number)
        if prefix < last:
            raise BreachListInvalid(f"line {number}: the lines are not in the order of their hashes. Sort them first.")
        if count >= minimum_count and prefix != last:
            yield prefix
        last = prefix


def _parse(line: str, number: int) -> tuple[bytes, int]:
    text, _, count = line.strip().partition(":")
    try:
        if len(text) != 2 * hashlib.sha1(usedforsecurity=False).digest_size:
            raise ValueError
        return bytes.fromhex(text)[:WIDTH], int(count or 1)
    except ValueError:
        raise BreachListInvalid(f"line {number} is not of the form SHA1:COUNT.") from None
