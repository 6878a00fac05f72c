"""Passwords, and the verification of e-mail addresses."""

import contextlib
from collections.abc import Iterator

import falcon

from edge.auth import OWN_ACCOUNT, PUBLIC, Guard
from edge.endpoint import endpoint
from edge.errors import Invalid
from edge.hashing import in_line
from edge.request import Request
from edge.schemas.auth.sessions import (
    EmailVerificationConfirmRequest,
    PasswordChangeRequest,
    PasswordForgotRequest,
    PasswordResetConfirmRequest,
    PasswordResetRequest,
)
from edge.schemas.common import SuccessResponse
from models.auth import email_verification, password_changes
from models.auth.email_addresses import normalize_email
from models.auth.password_hashing import PasswordHasher
from models.auth.password_login import InvalidCredentials, confirm_password
from models.auth.passwords import PasswordRejected, PasswordReused
from models.auth.users import User
from models.platform import limits
from models.platform.database import transaction
from models.platform.settings import settings
from workers.jobs import MAIL_NOTICE, MAIL_RESET, MAIL_VERIFY, enqueue

HOUR = 3600  # seconds


@contextlib.contextmanager
def lockout_mail() -> Iterator[None]:
    """Email the owner when a failed login in the block locks the account."""
    try:
        yield
    except InvalidCredentials as error:
        if error.locked_user_id:
            with transaction():
                enqueue(MAIL_NOTICE, user_id=str(error.locked_user_id), notice="account_locked")
        raise


@contextlib.contextmanager
def rejected_as_422(field: str) -> Iterator[None]:
    """Answer 422 for a password that the policy rejects; a reused one stays an error of its own."""
    try:
        yield
    except PasswordReused:
        raise
    except PasswordRejected as error:
        raise Invalid.at("body", field, msg=error.message, code=error.code) from None


class Email:
    """`send`: mail a verification token to the caller. `verify`: use it."""

    @endpoint("Send Email Verification", "auth", guard=OWN_ACCOUNT, status=202)
    def on_post_send(self, req: Request, resp: falcon.Response) -> SuccessResponse:
        principal = req.context.principal
        user = User.get_or_none(User.id == principal.user_id)
        if principal.email_verified or (user and user.email_verified_at):
            return SuccessResponse(message="Email already verified.", data={"email_verified": True})
        limits.hit("email_verify_user", settings.email_verification_email_rate_limit_per_hour, HOUR, principal.user_id)
        network = req.context.client.network
        limits.hit("email_verify_ip", settings.email_verification_ip_rate_limit_per_hour, HOUR, network)
        with transaction():
            enqueue(MAIL_VERIFY, user_id=str(principal.user_id))
        return SuccessResponse(message="Verification email sent.", data={"email_verified": False})

    @endpoint("Verify Email Token", "auth", guard=PUBLIC)
    def on_post_verify(
        self, req: Request, resp: falcon.Response, body: EmailVerificationConfirmRequest
    ) -> SuccessResponse:
        email_verification.verify_email(body.token, client=req.context.client)
        return SuccessResponse(message="Email verified successfully.")


class Password:
    """`forgot` and `confirm`: by mail. `change`: with the current password. `reset`: by an admin."""

    def __init__(self, hasher: PasswordHasher):
        self.hasher = hasher

    @endpoint("Request Password Reset", "auth", guard=PUBLIC, status=202)
    def on_post_forgot(self, req: Request, resp: falcon.Response, body: PasswordForgotRequest) -> SuccessResponse:
        email = normalize_email(body.email)
        limits.hit("password_reset_email", settings.password_reset_email_rate_limit_per_hour, HOUR, email)
        network = req.context.client.network
        limits.hit("password_reset_ip", settings.password_reset_ip_rate_limit_per_hour, HOUR, network)
        # The mail job checks whether the account exists, so that both cases take the same time here.
        with transaction():
            enqueue(MAIL_RESET, email=email)
        return SuccessResponse(message="If the account exists, password reset instructions have been sent.")

    @endpoint("Confirm Password Reset", "auth", guard=PUBLIC)
    @in_line
    def on_post_confirm(
        self, req: Request, resp: falcon.Response, body: PasswordResetConfirmRequest
    ) -> SuccessResponse:
        with rejected_as_422("new_password"):
            user, password_hash = password_changes.choose_password_by_token(
                body.token, body.new_password, hasher=self.hasher
            )
        with transaction():
            password_changes.reset_by_token(body.token, user, password_hash, client=req.context.client)
            enqueue(MAIL_NOTICE, user_id=str(user.id), notice="password_changed")
        return SuccessResponse(message="Password has been reset successfully.")

    @endpoint("Change Password", "auth", guard=OWN_ACCOUNT)
    @in_line
    def on_post_change(self, req: Request, resp: falcon.Response, body: PasswordChangeRequest) -> SuccessResponse:
        principal, client = req.context.principal, req.context.client
        with lockout_mail():
            user = confirm_password(principal, body.current_password, hasher=self.hasher, client=client)
        password_hash = password_changes.choose_password(user, body.new_password, hasher=self.hasher)
        with transaction():
            password_changes.set_password(user, password_hash, "password_change", by=principal, client=client)
            enqueue(MAIL_NOTICE, user_id=str(user.id), notice="password_changed")
        return SuccessResponse(message="Password updated successfully")

    @endpoint("Admin Reset Password", "auth", guard=Guard(role="admin", scope="support:read", people=True))
    @in_line
    def on_post_reset(self, req: Request, resp: falcon.Response, body: PasswordResetRequest) -> SuccessResponse:
        principal, client = req.context.principal, req.context.client
        user = password_changes.user_to_reset(principal, body.user_id)
        password_hash = password_changes.choose_password(user, body.new_password, hasher=self.hasher)
        with transaction():
            password_changes.set_password(user, password_hash, "password_reset", by=principal, client=client)
            enqueue(MAIL_NOTICE, user_id=str(user.id), notice="password_reset")
        return SuccessResponse(message="Password reset successfully")
