"""One-time tokens sent by mail: `<id>.<secret>`. The database holds the secret's keyed hash only.

A user may have several that are valid: whoever has one mailed must not void the one that the user is about to use. The
use of one voids them all.
"""

import secrets
from datetime import timedelta
from uuid import UUID

from peewee import CharField, Expression, UUIDField

from models.platform import locks
from models.platform.clock import now
from models.platform.database import in_transaction, transaction
from models.platform.digests import is_hex_digest, keyed_hex_digest
from models.platform.errors import BadRequest
from models.platform.ids import parse_uuid, uuid7
from models.platform.model import DateTimeTZField, Model

VERIFY_EMAIL, RESET_PASSWORD = "verify_email", "reset_password"
NAMES = {VERIFY_EMAIL: "Verification", RESET_PASSWORD: "Password reset"}
DIGEST = "email-token"  # the purpose of its hashes
SECRET_LENGTH = 64  # hexadecimal characters
KEPT = 10  # tokens of a user that are valid at once; the quotas of mails allow fewer


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
    """A new token that lives for `minutes`. It voids only those of the user's tokens that are older than the newest KEPT."""
    token_id, secret = uuid7(), secrets.token_hex(SECRET_LENGTH // 2)
    with transaction():
        EmailToken.create(
            id=token_id,
            user_id=user_id,
            purpose=purpose,
            secret_hash=keyed_hex_digest(DIGEST, secret),
            expires_at=now() + timedelta(minutes=minutes),
        )
        newest = EmailToken.select(EmailToken.id).where(_of(user_id, purpose)).order_by(EmailToken.id.desc())
        EmailToken.delete().where(_of(user_id, purpose) & EmailToken.id.not_in(newest.limit(KEPT))).execute()
    return f"{token_id.hex}.{secret}"


@in_transaction
def redeem(token: str, purpose: str) -> UUID:
    """Use the token up and return its user's id. Voids the user's other tokens of this purpose. Raises InvalidEmailToken.

    If the transaction is rolled back, all of them stay usable.
    """
    user_id = _find(token, purpose).user_id
    locks.lock("email-token", user_id)  # of two tokens used at once, only one counts
    _find(token, purpose)
    EmailToken.delete().where(_of(user_id, purpose)).execute()
    return user_id


def user_id_of(token: str, purpose: str) -> UUID:
    """The user that the token was created for; the token stays usable. Raises InvalidEmailToken."""
    return _find(token, purpose).user_id


def discard(token: str) -> None:
    """Void a token that was not sent."""
    EmailToken.delete().where(EmailToken.id == parse_uuid(token.partition(".")[0])).execute()


def purge() -> int:
    """Delete expired tokens; returns how many."""
    deleted: int = EmailToken.delete().where(EmailToken.expires_at < now()).execute()
    return deleted


def _of(user_id: UUID, purpose: str) -> Expression:
    return (EmailToken.user_id == user_id) & (EmailToken.purpose == purpose)


def _find(token: str, purpose: str) -> EmailToken:
    token_id, secret = _parse(token, purpose)
    email_token = EmailToken.get_or_none(EmailToken.id == token_id)
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
