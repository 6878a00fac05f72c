"""Encryption of what the database has to keep but nobody may read there, such as the secrets of webhooks.

The keys are derived from SECRET_KEY, one per purpose, as those of digests are. What was encrypted with one of
SECRET_KEY_PREVIOUS can still be read; a nightly job encrypts it again, so that a former key may be forgotten after a day.
"""

import base64
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from models.platform.digests import derived_keys


class CannotDecrypt(Exception):
    """The text was encrypted with a key that is neither SECRET_KEY nor one of SECRET_KEY_PREVIOUS, or was altered."""


def encrypt(purpose: str, text: str) -> str:
    """The text, encrypted with the current key and authenticated. It differs at each call. ASCII."""
    return _cipher(derived_keys(_name(purpose))).encrypt(text.encode()).decode()


def decrypt(purpose: str, token: str) -> str:
    """The text that `encrypt` was given. CannotDecrypt."""
    try:
        return _cipher(derived_keys(_name(purpose))).decrypt(token.encode()).decode()
    except InvalidToken:
        raise CannotDecrypt(purpose) from None


def renewed(purpose: str, token: str) -> str | None:
    """The same text under the current key, if a former one has encrypted it; else None. CannotDecrypt."""
    keys = derived_keys(_name(purpose))
    try:
        _cipher(keys[:1]).decrypt(token.encode())
    except InvalidToken:
        return encrypt(purpose, decrypt(purpose, token))
    return None


def _name(purpose: str) -> str:
    return f"encrypt:{purpose}"  # no digest and no cipher share a key


@lru_cache(maxsize=64)
def _cipher(keys: tuple[bytes, ...]) -> MultiFernet:
    return MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in keys])
