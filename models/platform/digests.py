"""Keyed hashes: what the database stores in place of a token, and what it compares instead of personal data.

SECRET_KEY is the root of all keys. Each purpose has its own key, derived by HKDF (RFC 5869), so that what one purpose
reveals is of no use to another. New digests are made with SECRET_KEY; those made with one of SECRET_KEY_PREVIOUS are
still accepted.
"""

import hashlib
import hmac
from functools import lru_cache

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from models.platform.settings import settings

KEY_LENGTH = 32  # bytes


class NoSecretKey(RuntimeError):
    """SECRET_KEY is not set. There is no default: whoever knows the key can forge what it protects."""


def derived_keys(purpose: str) -> tuple[bytes, ...]:
    """The keys for a purpose: the current one, which makes new digests, then the previous ones."""
    if settings.secret_key is None:
        raise NoSecretKey("SECRET_KEY is not set.")
    previous = settings.secret_key_previous.get_secret_value() if settings.secret_key_previous else ""
    return _derive((settings.secret_key.get_secret_value(), *settings.items(previous)), purpose)


@lru_cache(maxsize=128)
def _derive(roots: tuple[str, ...], purpose: str) -> tuple[bytes, ...]:
    return tuple(
        HKDF(algorithm=SHA256(), length=KEY_LENGTH, salt=None, info=purpose.encode()).derive(root.encode())
        for root in roots
    )


def keyed_digest(purpose: str, data: bytes | str) -> bytes:
    """HMAC-SHA256 of `data` under the current key: 32 bytes. Equal data gives unrelated digests for different purposes."""
    return _digest(derived_keys(purpose)[0], data)


def keyed_hex_digest(purpose: str, data: bytes | str) -> str:
    """`keyed_digest` as 64 hexadecimal characters."""
    return keyed_digest(purpose, data).hex()


def possible_digests(purpose: str, data: bytes | str) -> list[bytes]:
    """The digests of `data` under the current key and the previous ones: one of them may be what is stored."""
    return [_digest(key, data) for key in derived_keys(purpose)]


def possible_hex_digests(purpose: str, data: bytes | str) -> list[str]:
    """`possible_digests` in hexadecimal, for a look-up: `where(hash.in_(possible_hex_digests(...)))`."""
    return [digest.hex() for digest in possible_digests(purpose, data)]


def is_hex_digest(stored: str, purpose: str, data: bytes | str) -> bool:
    """Whether `stored` is a digest of `data` under one of the keys. Takes the same time whichever it is."""
    matches = [hmac.compare_digest(stored, digest) for digest in possible_hex_digests(purpose, data)]
    return any(matches)


def lasting_hex_digest(purpose: str, data: bytes | str) -> str:
    """A digest under the oldest key, for counters: a new SECRET_KEY must not give everybody a fresh allowance."""
    return possible_hex_digests(purpose, data)[-1]


def _digest(key: bytes, data: bytes | str) -> bytes:
    return hmac.digest(key, data.encode() if isinstance(data, str) else data, hashlib.sha256)
