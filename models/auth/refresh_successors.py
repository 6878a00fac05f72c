"""The tokens that a refresh has issued, kept for a client that sends the same refresh token twice at once.

They are encrypted under a key that is derived from the used token. The database has only a hash of that token, so a copy
of it lets nobody in.
"""

import os
from datetime import datetime, timedelta

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import TypeAdapter

from models.auth.sessions import RefreshToken
from models.auth.tokens import IssuedTokens
from models.platform.clock import now
from models.platform.database import database, in_transaction
from models.platform.settings import settings

KEY_LENGTH, NONCE_LENGTH = 32, 12  # bytes
TOKENS = TypeAdapter(IssuedTokens)
FORGET = """
update refresh_token set successor = null
where session_id = %(session_id)s and successor is not null and revoked_at <= %(before)s"""


@in_transaction
def keep(token: str, used: RefreshToken, issued: IssuedTokens) -> None:
    """Keep what was issued for this token, and forget what was kept for earlier tokens of the session."""
    database.execute_later(FORGET, {"session_id": used.session_id, "before": _oldest()})
    if settings.auth_refresh_grace_seconds > 0:
        nonce = os.urandom(NONCE_LENGTH)
        sealed = _cipher(token).encrypt(nonce, TOKENS.dump_json(issued), used.id.bytes)
        RefreshToken.update(successor=nonce + sealed).where(RefreshToken.id == used.id).execute()


def of(token: str, used: RefreshToken) -> IssuedTokens | None:
    """What was issued for this token, if it was used within the last AUTH_REFRESH_GRACE_SECONDS."""
    if used.successor is None or used.revoked_at is None or used.revoked_at <= _oldest():
        return None
    sealed = bytes(used.successor)
    try:
        text = _cipher(token).decrypt(sealed[:NONCE_LENGTH], sealed[NONCE_LENGTH:], used.id.bytes)
    except InvalidTag:
        return None
    return TOKENS.validate_json(text)


def purge() -> None:
    """Forget the tokens of all clients that did not come back."""
    expired = RefreshToken.successor.is_null(False) & (RefreshToken.revoked_at <= _oldest())
    RefreshToken.update(successor=None).where(expired).execute()


def _oldest() -> datetime:
    return now() - timedelta(seconds=settings.auth_refresh_grace_seconds)


def _cipher(token: str) -> AESGCM:
    derive = HKDF(algorithm=SHA256(), length=KEY_LENGTH, salt=None, info=b"refresh-successor")
    return AESGCM(derive.derive(token.encode()))
