"""Encrypting targets and secrets again, after SECRET_KEY has changed. A former key may be forgotten a day later."""

import contextlib

from models.platform import encrypted_columns
from models.platform.encryption import CannotDecrypt, decrypt, renewed
from models.status import signing
from models.status.subscriptions import TARGET, StatusSubscription, stored


def encrypt_again() -> int:
    """Returns how many values were encrypted with a former key. Hashes of targets are made anew with them."""
    secrets = (
        encrypted_columns.encrypt_again(StatusSubscription, name, signing.PURPOSE)
        for name in ("secret", "secret_before")
    )
    return _targets() + sum(secrets)


def _targets() -> int:
    count = 0
    encrypted = StatusSubscription.target_encrypted
    for row in StatusSubscription.select().where(encrypted.is_null(False)).iterator():
        with contextlib.suppress(CannotDecrypt):  # it is lost with its key
            if fresh := renewed(TARGET, row.target_encrypted):
                columns = {**stored(row.channel, decrypt(TARGET, row.target_encrypted)), "target_encrypted": fresh}
                is_same = (StatusSubscription.id == row.id) & (encrypted == row.target_encrypted)
                count += StatusSubscription.update(**columns).where(is_same).execute()
    return count
