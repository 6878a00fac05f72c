"""Encrypting targets and secrets again, after SECRET_KEY has changed. A former key may be forgotten a day later."""

import contextlib
from typing import Any

from models.platform.encryption import CannotDecrypt, decrypt, renewed
from models.status import signing
from models.status.subscriptions import TARGET, StatusSubscription, stored


def encrypt_again() -> int:
    """Returns how many values were encrypted with a former key. Hashes of targets are made anew with them."""
    count = 0
    for row in StatusSubscription.select().where(StatusSubscription.target_encrypted.is_null(False)).iterator():
        if (fresh := _renewed(TARGET, row.target_encrypted)) and row.target_encrypted:
            columns = {**stored(row.channel, decrypt(TARGET, row.target_encrypted)), "target_encrypted": fresh}
            count += _replace(row, "target_encrypted", columns)
        for name in ("secret", "secret_before"):
            if fresh := _renewed(signing.PURPOSE, getattr(row, name)):
                count += _replace(row, name, {name: fresh})
    return count


def _renewed(purpose: str, token: str | None) -> str | None:
    if token is None:
        return None
    with contextlib.suppress(CannotDecrypt):  # it is lost with its key
        return renewed(purpose, token)
    return None


def _replace(row: StatusSubscription, name: str, columns: dict[str, Any]) -> int:
    """1; 0 if the value has changed meanwhile, or was erased."""
    is_same = (StatusSubscription.id == row.id) & (getattr(StatusSubscription, name) == getattr(row, name))
    count: int = StatusSubscription.update(**columns).where(is_same).execute()
    return count
