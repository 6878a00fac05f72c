"""Columns whose values are encrypted: encrypting them again, after SECRET_KEY has changed."""

import contextlib
from typing import Any

from models.platform.encryption import CannotDecrypt, renewed
from models.platform.model import Model


def encrypt_again(model: type[Model], name: str, purpose: str) -> int:
    """Encrypt with the current SECRET_KEY what a former one has encrypted in this column. Returns how many values that were.

    What nobody can decrypt any more stays as it is.
    """
    column: Any = getattr(model, name)
    count = 0
    for row_id, token in model.select(model.id, column).where(column.is_null(False)).tuples().iterator():
        with contextlib.suppress(CannotDecrypt):
            if fresh := renewed(purpose, token):
                is_same = (model.id == row_id) & (column == token)  # it may have changed meanwhile
                count += model.update({column: fresh}).where(is_same).execute()
    return count
