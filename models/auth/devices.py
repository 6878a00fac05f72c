"""Known devices: those that logged in before. Their tokens are signed and not stored, so a login writes nothing more.

A token names its user and the password that was set when it was issued; another password voids it. It proves nothing but
that: a login with it still takes the password, but does not stop at a lock that strangers have caused.
"""

from datetime import timedelta
from uuid import UUID

from models.auth.email_addresses import normalize_email
from models.auth.key_file import keyset
from models.auth.signing_keys import InvalidToken
from models.auth.tokens import USER_SUBJECT, now_in_seconds, sign
from models.auth.users import User
from models.platform.digests import is_hex_digest, keyed_hex_digest
from models.platform.ids import parse_uuid, uuid7
from models.platform.settings import settings

DEVICE = "device"  # the `token_use` claim
PURPOSE = "device-password"  # of the digest in the `pwd` claim


def issue(user_id: UUID, password_hash: str, device_id: UUID | None = None) -> str:
    """A token for a device, new if `device_id` is None."""
    expires = now_in_seconds() + timedelta(days=settings.auth_known_device_days)
    subject, password = f"{USER_SUBJECT}{user_id}", keyed_hex_digest(PURPOSE, password_hash)
    return sign(subject, DEVICE, device_id or uuid7(), [], expires, pwd=password)


def recognise(token: str | None, email: str) -> UUID | None:
    """The id of the device, if the token is one of the user with this address, and their password is still the same."""
    claims = _claims(token) if token else None
    if claims is None:
        return None
    user_id, device_id, password = claims
    user = User.get_or_none(User.id == user_id)
    if user is None or normalize_email(user.email) != normalize_email(email):
        return None
    return device_id if is_hex_digest(password, PURPOSE, user.password_hash) else None


def _claims(token: str) -> tuple[UUID, UUID, str] | None:
    """(user's id, device's id, digest of the password's hash); None if we did not sign it, or it has expired."""
    try:
        claims = keyset().verify(token)
    except InvalidToken:
        return None
    user_id, device_id = parse_uuid(str(claims["sub"]).removeprefix(USER_SUBJECT)), parse_uuid(claims.get("jti"))
    if claims.get("token_use") != DEVICE or user_id is None or device_id is None:
        return None
    return user_id, device_id, str(claims.get("pwd"))
