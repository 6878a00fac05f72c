"""Mail, as jobs: no request waits for SMTP, and none tells by its time whether an address is known.

A one-time token is made here, by the job that mails it: it stands neither in the ledger nor in a log.
"""

import smtplib
import ssl
from datetime import timedelta
from email.message import EmailMessage
from email.utils import parseaddr
from urllib.parse import unquote, urlsplit

from models.auth import email_tokens
from models.auth.invites import Invite
from models.auth.signup import SignupRequest
from models.auth.users import User
from models.platform.clock import now
from models.platform.database import release
from models.platform.ids import parse_uuid
from models.platform.settings import settings
from workers.jobs import MAIL_ACCESS, MAIL_INVITE, MAIL_NOTICE, MAIL_RESET, MAIL_VERIFY
from workers.runtime import Lease, actor

TIMEOUT = 20  # seconds for one answer of the mail server
NOTICES = {
    "account_locked": (
        "Your account is locked for a while",
        "The password of your account was entered wrongly too often. You can sign in again later, or at once after a reset.",
    ),
    "password_changed": (
        "Your password was changed",
        "The password of your account was changed, and all its sessions were ended.",
    ),
    "password_reset": (
        "Your password was set by an administrator",
        "An administrator of your organisation set a new password, and all your sessions were ended.",
    ),
}


class MailNotConfigured(Exception):
    pass


@actor(MAIL_VERIFY)
def mail_verification(lease: Lease) -> None:
    user = User.get_or_none(User.id == parse_uuid(lease.job.args["user_id"]))
    if user is None or user.email_verified_at is not None:
        return
    minutes = settings.email_verification_token_ttl_minutes
    token = email_tokens.mint(user.id, email_tokens.VERIFY_EMAIL, minutes)
    send(
        lease,
        user.email,
        "Verify your address",
        f"Open this page to verify that {user.email} is yours:\n\n{_link('verify-email', token)}\n\n"
        f"or enter this code:\n\n{token}\n\nIt works once, within {minutes} minutes ({_until(minutes)}).",
        token,
    )


@actor(MAIL_RESET)
def mail_reset(lease: Lease) -> None:
    user = User.by_email(lease.job.args["email"])
    if user is None or user.status == "disabled":
        return
    minutes = settings.password_reset_token_ttl_minutes
    token = email_tokens.mint(user.id, email_tokens.RESET_PASSWORD, minutes)
    send(
        lease,
        user.email,
        "Reset your password",
        f"Somebody asked to reset the password of this account. If it was you, open\n\n"
        f"{_link('reset-password', token)}\n\nor enter this code:\n\n{token}\n\n"
        f"It works once, within {minutes} minutes ({_until(minutes)}). If it was not you, do nothing.",
        token,
    )


@actor(MAIL_NOTICE)
def mail_notice(lease: Lease) -> None:
    user = User.get_or_none(User.id == parse_uuid(lease.job.args["user_id"]))
    if user is not None:
        subject, text = NOTICES[lease.job.args["notice"]]
        send(lease, user.email, subject, f"{text}\n\nIf it was not you, reset your password at once: {_page()}")


@actor(MAIL_INVITE)
def mail_invite(lease: Lease) -> None:
    invite = Invite.get_or_none(Invite.id == parse_uuid(lease.job.args["invite_id"]))
    if invite is None or invite.shown_status != "active" or not invite.invited_email:
        return
    until = f"until {invite.expires_at:%Y-%m-%d %H:%M} UTC" if invite.expires_at else "until it is withdrawn"
    send(
        lease,
        invite.invited_email,
        "Your invitation",
        f"You can sign up with this address: open\n\n{_page()}/register?invite={invite.token}\n\n"
        f"or enter this invite token:\n\n{invite.token}\n\nIt is good {until}.",
    )


@actor(MAIL_ACCESS)
def mail_access(lease: Lease) -> None:
    """What became of a request for access, to who made it; or that there is one, to an operator who decides."""
    request = SignupRequest.get_or_none(SignupRequest.id == parse_uuid(lease.job.args["request_id"]))
    if request is None:
        return
    if operator_id := lease.job.args.get("operator_id"):
        text = f"{request.email} of {request.organization} asks for access:\n\n{request.message or '(no message)'}"
        send(lease, User.get_by_id(operator_id).email, "A request for access", text)
    elif request.status == "rejected":
        send(lease, request.email, "Your request for access", "We cannot give you access at this time.")
    elif User.by_email(request.email):
        text = f"There is an account with this address already. Sign in, or reset its password: {_page()}"
        send(lease, request.email, "Your request for access", text)
    else:
        send(lease, request.email, "Your request for access", "We have received your request and will look at it.")


def send(lease: Lease, to: str, subject: str, text: str, token: str = "") -> None:
    """Send a plain-text mail. A retry repeats its Message-ID, so that mailboxes can tell a double; but not with another
    one-time token, which voids that of the first."""
    release()  # a mail server may take its time
    message = EmailMessage()
    message["From"], message["To"] = settings.mail_from, to
    message["Subject"] = f"{settings.app_name}: {subject}"
    message["Message-ID"] = f"<{token.partition('.')[0] or lease.job.id.hex}@{_domain()}>"
    message["Date"] = now()
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    with _server() as server:
        server.send_message(message, to_addrs=[to])  # one, whatever the header may be read as


def _server() -> smtplib.SMTP:
    if not settings.smtp_url:
        raise MailNotConfigured("SMTP_URL is not set: mails cannot be sent.")
    url = urlsplit(settings.smtp_url)
    host, secure = url.hostname or "localhost", url.scheme == "smtps"
    context = ssl.create_default_context()
    if secure:
        server: smtplib.SMTP = smtplib.SMTP_SSL(host, url.port or 465, timeout=TIMEOUT, context=context)
    else:
        server = smtplib.SMTP(host, url.port or 25, timeout=TIMEOUT)
    try:
        server.ehlo()
        if not secure and server.has_extn("starttls"):
            server.starttls(context=context)
            server.ehlo()
        if url.username:
            server.login(unquote(url.username), unquote(url.password or ""))
    except BaseException:
        server.close()
        raise
    return server


def _link(page: str, token: str) -> str:
    return f"{_page()}/{page}?token={token}"


def _page() -> str:
    return settings.app_public_url.rstrip("/")


def _until(minutes: float) -> str:
    return f"until {now() + timedelta(minutes=minutes):%Y-%m-%d %H:%M} UTC"


def _domain() -> str:
    return parseaddr(settings.mail_from)[1].rpartition("@")[2] or "localhost"
