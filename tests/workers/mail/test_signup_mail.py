"""Mails about signing up: invites, and what became of requests for access."""

import pytest

import workers.mail  # noqa: F401  registers the actors
from models.auth import operators
from models.auth.invites import Invite
from models.auth.signup import SignupRequest
from models.jobs.ledger import Job
from models.platform.client_info import UNKNOWN_CLIENT
from models.platform.clock import now
from models.platform.database import transaction
from models.platform.principal import OPERATOR, Principal
from tests.support.accounts import add_user
from workers.broker import broker
from workers.jobs import MAIL_ACCESS, MAIL_INVITE, enqueue

OPERATOR_PRINCIPAL = Principal(None, None, scopes=frozenset(OPERATOR), account="test")
pytestmark = pytest.mark.usefixtures("clean", "cheap_hashing")


def mail(kind, **args):
    with transaction():
        job = enqueue(kind, **args)
    broker.get_actor(kind.name).fn(str(job.id))
    return Job.get_by_id(job.id).state


def invite(**more):
    with transaction():
        return Invite.issue(OPERATOR_PRINCIPAL, **{"email": "jo@example.com", **more})


def request():
    wanted = {"organization": "Acme", "full_name": "Jo", "message": "Let me in"}
    with transaction():
        return SignupRequest.submit(email="jo@example.com", **wanted, origin=UNKNOWN_CLIENT)


def test_an_invite_comes_with_its_token_and_its_end(mailbox):
    issued = invite()
    assert mail(MAIL_INVITE, invite_id=str(issued.id)) == "succeeded"
    [(recipients, message)] = mailbox.mails
    assert recipients == ["jo@example.com"]
    text = message.get_content()
    assert f"register?invite={issued.token}" in text and f"{issued.expires_at:%Y-%m-%d %H:%M} UTC" in text


def test_an_invite_that_is_not_good_any_more_is_not_mailed(mailbox):
    issued = invite()
    Invite.update(expires_at=now()).execute()
    assert mail(MAIL_INVITE, invite_id=str(issued.id)) == "succeeded"
    assert mailbox.mails == []


def test_who_asked_hears_that_it_was_received_and_the_operator_who_asked(mailbox, tenant):
    user = add_user("ops@example.com", "correct horse battery", tenant=tenant)
    operators.grant(user.email, ["auth:signup_requests"], by="test")
    asked = request()
    mail(MAIL_ACCESS, request_id=str(asked.id))
    mail(MAIL_ACCESS, request_id=str(asked.id), operator_id=str(user.id))
    (first, received), (second, review) = mailbox.mails
    assert (first, second) == (["jo@example.com"], ["ops@example.com"])
    assert "received your request" in received.get_content()
    assert "jo@example.com of Acme asks for access" in review.get_content() and "Let me in" in review.get_content()


def test_who_has_an_account_already_is_told_so_by_mail_alone(mailbox, tenant):
    add_user("jo@example.com", "correct horse battery", tenant=tenant)
    mail(MAIL_ACCESS, request_id=str(request().id))
    assert "There is an account with this address already" in mailbox.mails[0][1].get_content()


def test_who_was_rejected_does_not_hear_the_operators_reason(mailbox):
    asked = request()
    with transaction():
        SignupRequest.reject(OPERATOR_PRINCIPAL, asked.id, reason="a competitor", origin=UNKNOWN_CLIENT)
    mail(MAIL_ACCESS, request_id=str(asked.id))
    text = mailbox.mails[0][1].get_content()
    assert "cannot give you access" in text and "competitor" not in text
