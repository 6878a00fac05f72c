"""Keyed hashes: what the database stores in place of a token, and what it compares instead of personal data."""

import hashlib
import hmac

from models.platform.settings import settings


def keyed_digest(purpose: str, data: bytes | str) -> bytes:
    """HMAC-SHA256 of `data` under SECRET_KEY: 32 bytes. Equal data gives unrelated digests for different purposes."""
    key = settings.secret_key.get_secret_value().encode()
    data = data.encode() if isinstance(data, str) else data
    return hmac.digest(key, purpose.encode() + b"\0" + data, hashlib.sha256)


def keyed_hex_digest(purpose: str, data: bytes | str) -> str:
    """`keyed_digest` as 64 hexadecimal characters."""
    return keyed_digest(purpose, data).hex()


def is_hex_digest(stored: str, purpose: str, data: bytes | str) -> bool:
    """Whether `stored` is the digest of `data`. Takes the same time whether it is or not."""
    return hmac.compare_digest(stored, keyed_hex_digest(purpose, data))


def lasting_hex_digest(purpose: str, data: bytes | str) -> str:
    """A digest for the keys of counters."""
    return keyed_hex_digest(purpose, data)
