"""Proving that a user owns their e-mail address, with a token that was mailed to it.

Whoever registered chose the password before anybody had proved anything. So the password stays only if the token comes with
a session of the user. Otherwise the owner of the address may be somebody else, and sets a new password by mail.
"""

import secrets

from models.auth import email_tokens
from models.auth.email_tokens import InvalidEmailToken
from models.auth.password_changes import set_password
from models.auth.password_hashing import PasswordHasher
from models.auth.users import User
from models.platform.client_info import UNKNOWN_CLIENT, ClientInfo
from models.platform.database import in_transaction, release
from models.platform.principal import Principal


def choose_unusable_password(token: str, caller: Principal | None, *, hasher: PasswordHasher) -> str | None:
    """The hash of a password that nobody knows, for `verify_email`; None if the caller's session makes that unnecessary.

    The token stays usable. Raises InvalidEmailToken.
    """
    user_id = email_tokens.user_id_of(token, email_tokens.VERIFY_EMAIL)
    if caller is not None and caller.user_id == user_id:
        return None
    release()  # hashing takes time
    return hasher.hash(secrets.token_urlsafe(32))


@in_transaction
def verify_email(
    token: str, unusable_password: str | None, *, client: ClientInfo = UNKNOWN_CLIENT
) -> tuple[User, bool]:
    """Mark the address as verified and activate a pending account. Raises InvalidEmailToken.

    Returns (the user, whether they have to set a new password). If so, all of their sessions have ended.
    """
    user = User.lock(email_tokens.redeem(token, email_tokens.VERIFY_EMAIL))
    if user is None:
        raise InvalidEmailToken("Verification token is invalid or expired.")
    was_verified = user.email_verified_at is not None
    user.verify_address(client=client)
    if was_verified or unusable_password is None:
        return user, False
    set_password(user, unusable_password, "password_voided", by=f"user:{user.id}", client=client)
    return user, True
