"""Mails about signing up: invites and requests for access."""

import pytest

from models.auth import operators
from models.auth.invites import Invite
from models.auth.signup_requests import SignupRequest
from models.jobs.ledger import Job
from models.platform.client_info import UNKNOWN_CLIENT
from models.platform.clock import now
from models.platform.database import transaction
from models.platform.principal import OPERATOR, Principal, Root
from tests.support.accounts import add_user
from tests.support.mails import plain
from workers.broker import broker
from workers.jobs import (
    MAIL_ACCESS_KNOWN,
    MAIL_ACCESS_RECEIVED,
    MAIL_ACCESS_REJECTED,
    MAIL_ACCESS_REQUESTED,
    MAIL_INVITE,
    enqueue,
)
from workers.mail import signup  # noqa: F401  registers the actors

OPERATOR_PRINCIPAL = Principal(None, None, scopes=frozenset(OPERATOR), account="test")
pytestmark = pytest.mark.usefixtures("clean")


def mail(kind, **args):
    with transaction():
        job = enqueue(kind, **args)
    broker.get_actor(kind.name).fn(str(job.id))
    return Job.get_by_id(job.id).state


def invite(**more):
    with transaction():
        return Invite.issue(OPERATOR_PRINCIPAL, **{"email": "jo@example.com", **more})


def request():
    fields = {"organization": "Acme", "full_name": "Jo", "message": "Let me in"}
    with transaction():
        return SignupRequest.submit(email="jo@example.com", **fields, client=UNKNOWN_CLIENT)


def test_an_invite_mail_has_the_token_and_its_expiry(mailbox):
    invitation = invite()
    assert mail(MAIL_INVITE, invite_id=str(invitation.id)) == "succeeded"
    [(recipients, message)] = mailbox.mails
    assert recipients == ["jo@example.com"]
    text = plain(message)
    assert f"register?invite={invitation.token}" in text and f"{invitation.expires_at:%Y-%m-%d %H:%M} UTC" in text


def test_an_expired_invite_is_not_mailed(mailbox):
    invitation = invite()
    Invite.update(expires_at=now()).execute()
    assert mail(MAIL_INVITE, invite_id=str(invitation.id)) == "succeeded"
    assert mailbox.mails == []


def test_the_requester_and_the_operator_are_mailed(mailbox, tenant):
    user = add_user("ops@example.com", "correct horse battery", tenant=tenant, verified=True)
    operators.grant(user.email, ["auth:signup_requests"], by=Root("test"))
    pending = request()
    mail(MAIL_ACCESS_RECEIVED, request_id=str(pending.id))
    mail(MAIL_ACCESS_REQUESTED, request_id=str(pending.id), operator_id=str(user.id))
    (first, received), (second, review) = mailbox.mails
    assert (first, second) == (["jo@example.com"], ["ops@example.com"])
    assert "received your request" in plain(received)
    assert "jo@example.com of Acme asks for access" in plain(review) and "Let me in" in plain(review)


def test_a_requester_with_an_account_learns_that_by_mail_only(mailbox, tenant):
    add_user("jo@example.com", "correct horse battery", tenant=tenant)
    mail(MAIL_ACCESS_KNOWN, request_id=str(request().id))
    assert "There is an account with this address already" in plain(mailbox.mails[0][1])


def test_the_mail_about_a_rejection_does_not_have_the_reason(mailbox):
    rejected = request()
    with transaction():
        SignupRequest.reject(OPERATOR_PRINCIPAL, rejected.id, reason="a competitor", client=UNKNOWN_CLIENT)
    mail(MAIL_ACCESS_REJECTED, request_id=str(rejected.id))
    text = plain(mailbox.mails[0][1])
    assert "cannot give you access" in text and "competitor" not in text
