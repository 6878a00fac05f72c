"""Passwords and the verification of addresses. Mails go out as jobs."""

import contextlib
from collections.abc import Iterator

import falcon

from edge.auth import allow, public, signed_in
from edge.errors import Invalid
from edge.middleware import client_info
from edge.openapi import describes
from edge.schemas.auth.sessions import (
    EmailVerificationConfirmRequest,
    PasswordChangeRequest,
    PasswordForgotRequest,
    PasswordResetConfirmRequest,
    PasswordResetRequest,
)
from edge.schemas.common import SuccessResponse
from edge.validation import body
from models.auth import password_login, passwords
from models.auth.users import User
from models.platform import limits
from models.platform.database import transaction
from models.platform.settings import settings
from workers.jobs import MAIL_NOTICE, MAIL_RESET, MAIL_VERIFY, enqueue

HOUR = 3600


def done(message: str, data: dict | None = None) -> dict:
    return {"success": True, "message": message, "data": data}


@contextlib.contextmanager
def lock_noticed() -> Iterator[None]:
    """Whose account a wrong password has locked is told so by mail."""
    try:
        yield
    except password_login.InvalidCredentials as error:
        if error.locked:
            with transaction():
                enqueue(MAIL_NOTICE, user_id=str(error.locked), notice="account_locked")
        raise


@contextlib.contextmanager
def refused_as_422(field: str) -> Iterator[None]:
    """A password that the policy forbids is a body that does not fit; one that was used before is told as such."""
    try:
        yield
    except passwords.PasswordReused:
        raise
    except passwords.PasswordRefused as error:
        raise Invalid([{"loc": ["body", field], "msg": error.message, "type": error.code}]) from None


class Email:
    """`send`: mail a verification token to the caller. `verify`: use it."""

    @describes("Send Email Verification", "auth", answers={202: SuccessResponse})
    @signed_in
    def on_post_send(self, req: falcon.Request, resp: falcon.Response) -> None:
        me = req.context.principal
        resp.status = falcon.HTTP_202
        user = User.get_or_none(User.id == me.user_id)
        if me.email_verified or (user and user.email_verified_at):
            resp.media = done("Email already verified.", {"email_verified": True})
            return
        limits.hit("email_verify_user", settings.email_verification_email_rate_limit_per_hour, HOUR, me.user_id)
        network = client_info(req).network
        limits.hit("email_verify_ip", settings.email_verification_ip_rate_limit_per_hour, HOUR, network)
        with transaction():
            enqueue(MAIL_VERIFY, user_id=str(me.user_id))
        resp.media = done("Verification email sent.", {"email_verified": False})

    @describes("Verify Email Token", "auth", body=EmailVerificationConfirmRequest, answers={200: SuccessResponse})
    @public
    def on_post_verify(self, req: falcon.Request, resp: falcon.Response) -> None:
        password_login.verify_email(body(req, EmailVerificationConfirmRequest).token, client=client_info(req))
        resp.media = done("Email verified successfully.")


class Password:
    """`forgot` and `confirm` by mail, `change` by the old one, `reset` by an admin."""

    @describes("Request Password Reset", "auth", body=PasswordForgotRequest, answers={202: SuccessResponse})
    @public
    def on_post_forgot(self, req: falcon.Request, resp: falcon.Response) -> None:
        email = body(req, PasswordForgotRequest).email.strip().lower()
        limits.hit("password_reset_email", settings.password_reset_email_rate_limit_per_hour, HOUR, email)
        network = client_info(req).network
        limits.hit("password_reset_ip", settings.password_reset_ip_rate_limit_per_hour, HOUR, network)
        with transaction():  # known or not is for the job to find out: here both are the same work
            enqueue(MAIL_RESET, email=email)
        resp.status = falcon.HTTP_202
        resp.media = done("If the account exists, password reset instructions have been sent.")

    @describes("Confirm Password Reset", "auth", body=PasswordResetConfirmRequest, answers={200: SuccessResponse})
    @public
    def on_post_confirm(self, req: falcon.Request, resp: falcon.Response) -> None:
        ask = body(req, PasswordResetConfirmRequest)
        with refused_as_422("new_password"):
            user, chosen = password_login.choose_by_token(ask.token, ask.new_password)
        with transaction():
            password_login.reset(ask.token, user, chosen, client=client_info(req))
            enqueue(MAIL_NOTICE, user_id=str(user.id), notice="password_changed")
        resp.media = done("Password has been reset successfully.")

    @describes("Change Password", "auth", body=PasswordChangeRequest, answers={200: SuccessResponse})
    @signed_in
    def on_post_change(self, req: falcon.Request, resp: falcon.Response) -> None:
        me, ask = req.context.principal, body(req, PasswordChangeRequest)
        with lock_noticed():
            user = password_login.prove(me, ask.current_password, client=client_info(req))
        chosen = password_login.choose(user, ask.new_password)
        with transaction():
            password_login.set_password(user, chosen, "password_change", by=me, client=client_info(req))
            enqueue(MAIL_NOTICE, user_id=str(me.user_id), notice="password_changed")
        resp.media = done("Password updated successfully")

    @describes("Admin Reset Password", "auth", body=PasswordResetRequest, answers={200: SuccessResponse})
    @allow(role="admin", scope="support:read", people=True)
    def on_post_reset(self, req: falcon.Request, resp: falcon.Response) -> None:
        ask = body(req, PasswordResetRequest)
        user = password_login.below(req.context.principal, ask.user_id)
        chosen = password_login.choose(user, ask.new_password)
        with transaction():
            password_login.set_password(
                user, chosen, "password_reset", by=req.context.principal, client=client_info(req)
            )
            enqueue(MAIL_NOTICE, user_id=str(ask.user_id), notice="password_reset")
        resp.media = done("Password reset successfully")
