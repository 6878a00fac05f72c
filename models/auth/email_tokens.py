"""Tokens that are mailed and work once: `<id>.<secret>`. Only the secret's hash is stored."""

import hashlib
import hmac
import secrets
from datetime import timedelta
from uuid import UUID

from peewee import CharField, UUIDField

from models.platform.clock import now
from models.platform.database import in_transaction, transaction
from models.platform.errors import BadRequest
from models.platform.ids import parse_uuid, uuid7
from models.platform.model import DateTimeTZField, Model
from models.platform.settings import settings

VERIFY_EMAIL, RESET_PASSWORD = "verify_email", "reset_password"
NAMES = {VERIFY_EMAIL: "Verification", RESET_PASSWORD: "Password reset"}


class TokenRefused(BadRequest):
    code = "invalid_token"


class OneTimeToken(Model):
    user_id = UUIDField()
    purpose = CharField()
    secret_hash = CharField()
    expires_at = DateTimeTZField()


def mint(user_id: UUID, purpose: str, minutes: float) -> str:
    """A new token; earlier ones of the same purpose are void."""
    token_id, secret = uuid7(), secrets.token_hex(32)
    with transaction():
        revoke(user_id, purpose)
        OneTimeToken.create(
            id=token_id,
            user_id=user_id,
            purpose=purpose,
            secret_hash=_hash(secret),
            expires_at=now() + timedelta(minutes=minutes),
        )
    return f"{token_id.hex}.{secret}"


@in_transaction
def redeem(token: str, purpose: str) -> UUID:
    """In the caller's transaction: use the token up; its user. If the caller fails, it can be used again."""
    row = look_up(token, purpose, lock=True)
    row.delete_instance()
    return row.user_id


def look_up(token: str, purpose: str, *, lock: bool = False) -> OneTimeToken:
    """The token's row, if the token is good. TokenRefused otherwise."""
    name, (token_id, _, secret) = NAMES[purpose], token.partition(".")
    known = parse_uuid(token_id)
    if known is None or len(secret) != 64:
        raise TokenRefused(f"{name} token is malformed.")
    row = OneTimeToken.lock(known) if lock else OneTimeToken.get_or_none(OneTimeToken.id == known)
    good = row is not None and row.purpose == purpose and row.expires_at > now()
    if not good or not hmac.compare_digest(row.secret_hash, _hash(secret)):
        raise TokenRefused(f"{name} token is invalid or expired.")
    return row


def revoke(user_id: UUID, purpose: str) -> None:
    OneTimeToken.delete().where((OneTimeToken.user_id == user_id) & (OneTimeToken.purpose == purpose)).execute()


def purge() -> int:
    return OneTimeToken.delete().where(OneTimeToken.expires_at < now()).execute()


def _hash(secret: str) -> str:
    return hmac.new(settings.secret_key.get_secret_value().encode(), secret.encode(), hashlib.sha256).hexdigest()
