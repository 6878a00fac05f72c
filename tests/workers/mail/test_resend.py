"""Mails by Resend's API: what it is told, what its failures mean, and that a retried mail is one mail."""

import httpx
import pytest

from devstack.mails import read
from models.jobs.ledger import Job
from models.platform.clock import now
from models.platform.database import transaction
from tests.support.accounts import add_user
from tests.support.mails import html, plain
from workers.broker import broker
from workers.gateways import resend
from workers.gateways.mail import MailFailed, MailNotConfigured
from workers.jobs import MAIL_NOTICE, enqueue
from workers.mail.accounts import NOTICES  # registers the actors
from workers.mail.send import sender

UNSUBSCRIBE = f"https://status.example.com/status/unsubscribe?subscription_id={'0' * 36}&token={'x' * 43}"


@pytest.fixture(scope="module")
def part(tmp_path_factory):
    from devstack.parts.resend import Resend

    found = Resend(tmp_path_factory.mktemp("state"))
    found.start()
    yield found
    found.stop()
    assert "Traceback" not in (log := found.log.read_text()), log


@pytest.fixture
def outbox(part, configure, clean):
    """The mails of this test, oldest first: a function."""
    env = {name.lower(): value for name, value in part.env().items()}
    configure(**env | {"resend_email_enabled": True, "resend_default_from": "Acme <hello@acme.example>"})
    folder = part.folder.parent / "mail"
    before = set(folder.glob("*.eml"))
    return lambda: [read(file) for file in sorted(set(folder.glob("*.eml")) - before)]


@pytest.fixture
def goes_wrong(part):
    return lambda **fault: httpx.post(f"{part.url}/_standin/faults", json=fault).raise_for_status()


def send(to="jo@example.com", template="test", message_id="m1", **more):
    with sender() as by:
        return by.send(to, template, message_id=message_id, **more)


def test_a_mail_has_all_that_it_has_by_smtp(outbox):
    send(message_id="a1", reply_to="eve@example.com", headers={"X-Contact-Ref": "r1"}, unsubscribe_url=UNSUBSCRIBE)
    [message] = outbox()
    assert (message["From"], message["To"], message["Reply-To"]) == (
        "Acme <hello@acme.example>",
        "jo@example.com",
        "eve@example.com",
    )
    assert message["Subject"] == "longshore: A test"
    assert (message["X-Contact-Ref"], message["Auto-Submitted"]) == ("r1", "auto-generated")
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert "reach this address" in plain(message) and "reach this address" in html(message)


def test_a_mail_that_is_sent_again_is_one_mail(outbox):
    assert send(message_id="b1") and send(message_id="b1")
    assert send(message_id="b1", template="billing_test", tenant="Acme"), "the first one was accepted"
    assert len(outbox()) == 1


def test_a_mail_whose_answer_was_lost_is_not_sent_twice(outbox, goes_wrong):
    goes_wrong(lost=True, times=2)
    with pytest.raises(MailFailed, match="not reached"):
        send(message_id="c1")
    assert send(message_id="c1")
    assert len(outbox()) == 1


def test_a_silent_server_is_a_timeout(outbox, goes_wrong, monkeypatch):
    monkeypatch.setattr(resend, "SECONDS", 0.3)
    goes_wrong(seconds=2)
    with pytest.raises(MailFailed) as caught:
        send(message_id="d1")
    assert caught.value.is_timeout and not caught.value.is_permanent


@pytest.mark.parametrize(("status", "retry_after"), [(500, None), (503, None), (429, 1)])
def test_a_failure_of_theirs_can_be_tried_again(outbox, goes_wrong, status, retry_after):
    goes_wrong(status=status)
    with pytest.raises(MailFailed, match=str(status)) as caught:
        send(message_id=f"e{status}")
    assert not caught.value.is_permanent and caught.value.retry_after == retry_after
    assert send(message_id=f"e{status}")


def test_a_wrong_key_is_no_fault_of_the_mail(outbox, configure):
    configure(resend_api_key="re_other")
    with pytest.raises(MailFailed, match="401 validation_error") as caught:
        send(message_id="f1")
    assert not caught.value.is_permanent


def test_without_a_key_nothing_is_sent(outbox, configure):
    configure(resend_api_key=None)
    with pytest.raises(MailNotConfigured, match="RESEND_API_KEY"):
        send()


def test_an_address_that_they_do_not_take_is_refused_for_ever():
    answer = resend.Answer(422, {}, b'{"name": "validation_error", "message": "Invalid `to` field: jo@example.com"}')
    with pytest.raises(MailFailed, match=r"j\*\*\*@example.com") as caught:
        resend._check(answer)
    assert caught.value.is_permanent


@pytest.mark.parametrize("body", [b"{}", b"[]", b"<html>", b'{"id": 1}'])
def test_an_answer_without_an_id_is_a_failure(body):
    with pytest.raises(MailFailed, match="no id"):
        resend._check(resend.Answer(200, {}, body))


@pytest.mark.parametrize(
    ("text", "tag"), [("contact", "contact"), ("Sales & more", "Sales_more"), ("Ümlaut", "_mlaut"), ("", "_")]
)
def test_a_tag_has_only_what_they_take(text, tag):
    assert resend.tag(text) == tag


def test_a_job_that_comes_too_fast_is_put_off_and_has_not_failed(outbox, goes_wrong, tenant):
    user = add_user("jo@example.com", "correct horse battery", tenant=tenant)
    with transaction():
        job = enqueue(MAIL_NOTICE, user_id=str(user.id), notice=NOTICES[0])
    goes_wrong(status=429)
    broker.get_actor(job.name).fn(str(job.id))
    later = Job.get_by_id(job.id)
    assert (later.state, later.failures) == ("queued", 0) and later.due_at > job.created_at
    Job.update(due_at=now()).where(Job.id == job.id).execute()
    broker.get_actor(job.name).fn(str(job.id))
    assert Job.get_by_id(job.id).state == "succeeded" and len(outbox()) == 1
