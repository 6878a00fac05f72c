"""One-time tokens sent by mail: `<id>.<secret>`. The database holds the secret's keyed hash only."""

import secrets
from datetime import timedelta
from uuid import UUID

from peewee import CharField, UUIDField

from models.platform.clock import now
from models.platform.database import in_transaction, transaction
from models.platform.digests import is_hex_digest, keyed_hex_digest
from models.platform.errors import BadRequest
from models.platform.ids import parse_uuid, uuid7
from models.platform.model import DateTimeTZField, Model

VERIFY_EMAIL, RESET_PASSWORD = "verify_email", "reset_password"
NAMES = {VERIFY_EMAIL: "Verification", RESET_PASSWORD: "Password reset"}
SECRET_LENGTH = 64  # hexadecimal characters
DIGEST = "email-token"  # the purpose of its hashes


class InvalidEmailToken(BadRequest):
    code = "invalid_token"


class EmailToken(Model):
    user_id = UUIDField()
    purpose = CharField()
    secret_hash = CharField()
    expires_at = DateTimeTZField()

    class Meta:
        table_name = "one_time_token"


def create(user_id: UUID, purpose: str, minutes: float) -> str:
    """A new token that lives for `minutes`. It voids the user's earlier tokens of the same purpose."""
    token_id, secret = uuid7(), secrets.token_hex(SECRET_LENGTH // 2)
    with transaction():
        revoke(user_id, purpose)
        EmailToken.create(
            id=token_id,
            user_id=user_id,
            purpose=purpose,
            secret_hash=keyed_hex_digest(DIGEST, secret),
            expires_at=now() + timedelta(minutes=minutes),
        )
    return f"{token_id.hex}.{secret}"


@in_transaction
def redeem(token: str, purpose: str) -> UUID:
    """Use the token up and return its user's id. Raises InvalidEmailToken. If the transaction is rolled back, the token stays usable."""
    email_token = _find(token, purpose, for_update=True)
    email_token.delete_instance()
    return email_token.user_id


def user_id_of(token: str, purpose: str) -> UUID:
    """The user that the token was created for; the token stays usable. Raises InvalidEmailToken."""
    return _find(token, purpose, for_update=False).user_id


def revoke(user_id: UUID, purpose: str) -> None:
    """Void the user's tokens of this purpose."""
    EmailToken.delete().where((EmailToken.user_id == user_id) & (EmailToken.purpose == purpose)).execute()


def purge() -> int:
    """Delete expired tokens; returns how many."""
    deleted: int = EmailToken.delete().where(EmailToken.expires_at < now()).execute()
    return deleted


def _find(token: str, purpose: str, *, for_update: bool) -> EmailToken:
    token_id, secret = _parse(token, purpose)
    email_token = EmailToken.lock(token_id) if for_update else EmailToken.get_or_none(EmailToken.id == token_id)
    if (
        email_token is None
        or email_token.purpose != purpose
        or email_token.expires_at <= now()
        or not is_hex_digest(email_token.secret_hash, DIGEST, secret)
    ):
        raise InvalidEmailToken(f"{NAMES[purpose]} token is invalid or expired.")
    return email_token


def _parse(token: str, purpose: str) -> tuple[UUID, str]:
    id_text, _, secret = token.partition(".")
    token_id = parse_uuid(id_text)
    if token_id is None or len(secret) != SECRET_LENGTH:
        raise InvalidEmailToken(f"{NAMES[purpose]} token is malformed.")
    return token_id, secret
