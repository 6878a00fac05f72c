"""Mails about an account: verifying its address, resetting its password, and notices.

A one-time token is created here, by the job that mails it: neither the job ledger nor a log ever contains it. Each
attempt creates a new token, and one that fails takes its own back; so each attempt has a Message-ID of its own as well.
"""

from typing import Any

from models.auth import email_tokens
from models.auth.users import User
from models.platform.ids import parse_uuid
from models.platform.settings import settings
from workers.jobs import MAIL_LOCKED, MAIL_NOTICE, MAIL_RESET, MAIL_VERIFY
from workers.mail.send import expiry, send
from workers.runtime import Lease, actor

NOTICES = ("password_changed", "password_reset")


@actor(MAIL_VERIFY)
def mail_verification(lease: Lease) -> None:
    """A token that verifies the user's address; nothing if it is verified already."""
    user = User.get_or_none(User.id == parse_uuid(lease.job.args["user_id"]))
    if user is not None and user.email_verified_at is None:
        minutes = settings.email_verification_token_ttl_minutes
        _send_token(lease, user, "verify_email", email_tokens.VERIFY_EMAIL, minutes)


@actor(MAIL_RESET)
def mail_reset(lease: Lease) -> None:
    """A token that resets the password; nothing for an unknown address or a disabled account."""
    user = User.by_email(lease.job.args["email"])
    if user is not None and user.status != "disabled":
        minutes = settings.password_reset_token_ttl_minutes
        _send_token(lease, user, "reset_password", email_tokens.RESET_PASSWORD, minutes)


@actor(MAIL_LOCKED)
def mail_locked(lease: Lease) -> None:
    """To the owner of an address at which too many passwords were wrong; nothing for an unknown address."""
    user = User.by_email(lease.job.args["email"])
    if user is not None:
        send(lease, user.email, "account_locked", minutes=settings.auth_lockout_duration_minutes)


@actor(MAIL_NOTICE)
def mail_notice(lease: Lease) -> None:
    """What happened to the account: `notice` is one of NOTICES, which are templates too."""
    user = User.get_or_none(User.id == parse_uuid(lease.job.args["user_id"]))
    if user is not None:
        send(lease, user.email, lease.job.args["notice"])


def _send_token(lease: Lease, user: User, template: str, purpose: str, minutes: int) -> None:
    token = email_tokens.create(user.id, purpose, minutes)
    message_id = token.partition(".")[0]
    values: dict[str, Any] = {"email": user.email, "token": token, "minutes": minutes, "expiry": expiry(minutes)}
    try:
        send(lease, user.email, template, message_id=message_id, **values)
    except BaseException:
        email_tokens.discard(token)  # nobody has it
        raise
