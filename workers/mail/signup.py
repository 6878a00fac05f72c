"""Mails about signing up: invites, and requests for access."""

from models.auth.invites import ACTIVE, Invite
from models.auth.signup_requests import SignupRequest
from models.auth.users import User
from models.platform.clock import minute_text
from models.platform.ids import parse_uuid
from workers.jobs import (
    MAIL_ACCESS_KNOWN,
    MAIL_ACCESS_RECEIVED,
    MAIL_ACCESS_REJECTED,
    MAIL_ACCESS_REQUESTED,
    MAIL_INVITE,
)
from workers.mail.send import send
from workers.runtime import Lease, actor


@actor(MAIL_INVITE)
def mail_invite(lease: Lease) -> None:
    """An invite with its token; nothing if it is not active any more."""
    invite = Invite.get_or_none(Invite.id == parse_uuid(lease.job.args["invite_id"]))
    if invite is not None and invite.current_status == ACTIVE and invite.invited_email:
        expiry = minute_text(invite.expires_at) if invite.expires_at else None
        send(lease, invite.invited_email, "invite", token=invite.token, expiry=expiry)


@actor(MAIL_ACCESS_RECEIVED)
def mail_access_received(lease: Lease) -> None:
    """To somebody who asked for access."""
    _send_to_requester(lease, "access_received")


@actor(MAIL_ACCESS_KNOWN)
def mail_access_known(lease: Lease) -> None:
    """To somebody who asked for access and has an account already."""
    _send_to_requester(lease, "access_known")


@actor(MAIL_ACCESS_REJECTED)
def mail_access_rejected(lease: Lease) -> None:
    """To somebody whose request was rejected. The operator's reason is not told."""
    _send_to_requester(lease, "access_rejected")


@actor(MAIL_ACCESS_REQUESTED)
def mail_access_requested(lease: Lease) -> None:
    """To an operator who can decide about a request."""
    request = _request(lease)
    operator = User.get_or_none(User.id == parse_uuid(lease.job.args["operator_id"]))
    if request is not None and operator is not None:
        send(lease, operator.email, "access_requested", request=request)


def _send_to_requester(lease: Lease, template: str) -> None:
    request = _request(lease)
    if request is not None:
        send(lease, request.email, template)


def _request(lease: Lease) -> SignupRequest | None:
    return SignupRequest.get_or_none(SignupRequest.id == parse_uuid(lease.job.args["request_id"]))
