"""Proving that a user owns their e-mail address, with a token that was mailed to it."""

from models.auth import email_tokens
from models.auth.sessions import Session
from models.auth.users import User
from models.platform import audit
from models.platform.client_info import UNKNOWN_CLIENT, ClientInfo
from models.platform.clock import now
from models.platform.database import transaction


def verify_email(token: str, *, client: ClientInfo = UNKNOWN_CLIENT) -> User:
    """Mark the address as verified and activate a pending account. Raises InvalidEmailToken.

    The user's sessions end, because their access tokens still say that the address is not verified.
    """
    with transaction():
        user = User.lock(email_tokens.redeem(token, email_tokens.VERIFY_EMAIL))
        if user is None:
            raise email_tokens.InvalidEmailToken("Verification token is invalid or expired.")
        user.email_verified_at = user.email_verified_at or now()
        user.status = "active" if user.status == "pending" else user.status
        user.save(only=[User.email_verified_at, User.status])
        Session.revoke(Session.user == user.id, "email_verified")
        audit.record("auth.email_verified", f"user:{user.id}", f"user:{user.id}", client=client)
        return user
