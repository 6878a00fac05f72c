"""Passwords, and the verification of e-mail addresses."""

import contextlib
from collections.abc import Iterator

import falcon

from edge.auth import optional_caller
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
from models.auth import devices, email_verification, mail_quotas, password_changes
from models.auth.email_addresses import normalize_email
from models.auth.password_hashing import PasswordHasher
from models.auth.password_login import InvalidCredentials, confirm_password
from models.auth.passwords import PasswordRejected, PasswordReused
from models.auth.users import User
from models.platform.authorization import OWN_ACCOUNT, PASSWORD_RESET, PUBLIC
from models.platform.database import transaction
from workers.jobs import MAIL_LOCKED, MAIL_NOTICE, MAIL_RESET, MAIL_VERIFY, enqueue

DEVICE_HEADER = "X-Device-Token"


@contextlib.contextmanager
def lockout_mail() -> Iterator[None]:
    """Email the owner when a wrong password in the block locks the account. The mail job checks whether it exists."""
    try:
        yield
    except InvalidCredentials as error:
        if error.locked_email and mail_quotas.charge_lock(error.locked_email):
            with transaction():
                enqueue(MAIL_LOCKED, email=error.locked_email)
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

    def __init__(self, hasher: PasswordHasher):
        self.hasher = hasher

    @endpoint("Send Email Verification", "auth", action=OWN_ACCOUNT, status=202)
    def on_post_send(self, req: Request, resp: falcon.Response) -> SuccessResponse:
        principal = req.context.principal
        user = User.get_or_none(User.id == principal.user_id)
        if principal.email_verified or (user and user.email_verified_at):
            return SuccessResponse(message="Email already verified.", data={"email_verified": True})
        mail_quotas.charge_verification(principal, req.context.client)
        with transaction():
            enqueue(MAIL_VERIFY, user_id=str(principal.user_id))
        return SuccessResponse(message="Verification email sent.", data={"email_verified": False})

    @endpoint("Verify Email Token", "auth", action=PUBLIC, headers=("Authorization",))
    @in_line
    def on_post_verify(
        self, req: Request, resp: falcon.Response, body: EmailVerificationConfirmRequest
    ) -> SuccessResponse:
        unusable = email_verification.choose_unusable_password(body.token, optional_caller(req), hasher=self.hasher)
        with transaction():
            user, password_void = email_verification.verify_email(body.token, unusable, client=req.context.client)
            if password_void:
                enqueue(MAIL_RESET, email=user.email)
        if not password_void:
            return SuccessResponse(message="Email verified successfully.")
        message = "Email verified successfully. We have mailed you a link to set a new password."
        return SuccessResponse(message=message, data={"new_password_required": True})


class Password:
    """`forgot` and `confirm`: by mail. `change`: with the current password. `reset`: by an admin."""

    def __init__(self, hasher: PasswordHasher):
        self.hasher = hasher

    @endpoint("Request Password Reset", "auth", action=PUBLIC, status=202)
    def on_post_forgot(self, req: Request, resp: falcon.Response, body: PasswordForgotRequest) -> SuccessResponse:
        email = normalize_email(body.email)
        # The mail job checks whether the account exists, so that both cases take the same time here.
        if mail_quotas.charge_reset(email, req.context.client):
            with transaction():
                enqueue(MAIL_RESET, email=email)
        return SuccessResponse(message="If the account exists, password reset instructions have been sent.")

    @endpoint("Confirm Password Reset", "auth", action=PUBLIC, answer_headers=(DEVICE_HEADER,))
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
        resp.set_header(DEVICE_HEADER, devices.issue(user.id, password_hash))
        return SuccessResponse(message="Password has been reset successfully.")

    @endpoint("Change Password", "auth", action=OWN_ACCOUNT, answer_headers=(DEVICE_HEADER,))
    @in_line
    def on_post_change(self, req: Request, resp: falcon.Response, body: PasswordChangeRequest) -> SuccessResponse:
        principal, client = req.context.principal, req.context.client
        with lockout_mail():
            user = confirm_password(principal, body.current_password, hasher=self.hasher, client=client)
        password_hash = password_changes.choose_password(user, body.new_password, hasher=self.hasher)
        with transaction():
            password_changes.set_password(user, password_hash, "password_change", by=principal, client=client)
            enqueue(MAIL_NOTICE, user_id=str(user.id), notice="password_changed")
        resp.set_header(DEVICE_HEADER, devices.issue(user.id, password_hash))
        return SuccessResponse(message="Password updated successfully")

    @endpoint("Admin Reset Password", "auth", action=PASSWORD_RESET)
    @in_line
    def on_post_reset(self, req: Request, resp: falcon.Response, body: PasswordResetRequest) -> SuccessResponse:
        principal, client = req.context.principal, req.context.client
        user = password_changes.user_to_reset(principal, body.user_id)
        password_hash = password_changes.choose_password(user, body.new_password, hasher=self.hasher)
        with transaction():
            password_changes.reset_by_admin(principal, user, password_hash, client=client)
            enqueue(MAIL_NOTICE, user_id=str(user.id), notice="password_reset")
        return SuccessResponse(message="Password reset successfully")
