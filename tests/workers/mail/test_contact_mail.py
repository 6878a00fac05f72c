"""Messages of the contact form reach those who answer them."""

import uuid

import pytest

from models.contact.messages import ContactMessage
from models.jobs.ledger import Job
from models.platform.client_info import ClientInfo
from models.platform.clock import now
from models.platform.database import transaction
from models.platform.principal import Root
from tests.support.mails import html, plain
from workers.broker import broker
from workers.jobs import MAIL_CONTACT, enqueue
from workers.mail import contact  # noqa: F401  registers the actor

pytestmark = pytest.mark.usefixtures("clean")
CLIENT = ClientInfo("192.0.2.7", "curl/8")


def left(message="Do you ship to Norway?\nAnd Iceland?", **more):
    with transaction():
        return ContactMessage.submit(**{"email": "jo@example.com", "message": message, "client": CLIENT, **more})


def attempt(job):
    Job.update(due_at=now()).where(Job.id == job.id).execute()
    broker.get_actor(job.name).fn(str(job.id))
    return Job.get_by_id(job.id).state


def mail(message_id, to="help@example.com"):
    with transaction():
        job = enqueue(MAIL_CONTACT, message_id=str(message_id), to=to)
    return job, attempt(job)


def test_a_mail_has_the_message_and_is_answered_to_its_sender(mailbox):
    row = left(name="Jo", company="Acme", topic="Shipping")
    assert mail(row.id)[1] == "succeeded"
    [(recipients, message)] = mailbox.mails
    assert recipients == ["help@example.com"]
    assert message["Subject"] == "[Contact] Shipping"
    assert message["Reply-To"] == "jo@example.com" and message["X-Contact-Ref"] == str(row.id)
    text = plain(message).replace("\r\n", "\n")
    for part in ("Jo", "jo@example.com", "Acme", "Shipping", str(row.id), "192.0.2.7", "curl/8", row.message):
        assert part in text
    assert ContactMessage.get().mailed_at is not None


def test_a_mail_says_what_nobody_has_said(mailbox):
    mail(left().id)
    [(_, message)] = mailbox.mails
    assert message["Subject"] == "[Contact] General" and "Anonymous" in plain(message)


def test_nothing_that_a_stranger_writes_becomes_a_header_or_markup(mailbox, configure):
    configure(contact_email_subject_prefix="")
    topic = "x\r\nBcc: all@example.com\r\n\r\n<script>"
    mail(left("</div><img src=x onerror=alert(1)> and more", topic=topic, name="\u202e<b>Jo").id)
    [(recipients, message)] = mailbox.mails
    assert recipients == ["help@example.com"] and message["Bcc"] is None
    assert message["Subject"] == "x Bcc: all@example.com <script>"
    page = html(message)
    assert "<script>" not in page and "<img src=x" not in page and "<b>Jo" not in page


def test_an_address_beyond_ascii_can_be_answered(mailbox):
    assert mail(left(email="j\u00f8@ex\u00e4mple.org").id)[1] == "succeeded"
    [(_, message)] = mailbox.mails
    assert "j\u00f8@ex\u00e4mple.org" in plain(message)


def test_an_address_with_an_apostrophe_can_be_answered(mailbox):
    assert mail(left(email="sinead.o'brien@example.com").id)[1] == "succeeded"
    [(_, message)] = mailbox.mails
    assert message["Reply-To"] == "sinead.o'brien@example.com"


def test_a_message_waits_for_the_mail_server_and_keeps_its_message_id(mailbox, configure):
    row = left()
    with transaction():
        job = enqueue(MAIL_CONTACT, message_id=str(row.id), to="help@example.com")
    configure(smtp_url="smtp://127.0.0.1:1")
    assert attempt(job) == "queued" and ContactMessage.get().mailed_at is None
    configure(smtp_url=f"smtp://127.0.0.1:{mailbox.port}")
    assert attempt(job) == "succeeded" and ContactMessage.get().mailed_at is not None
    [(_, message)] = mailbox.mails
    assert job.id.hex in message["Message-ID"]


def test_what_was_erased_or_came_from_a_robot_is_not_mailed(mailbox):
    erased, robot = left(), left(is_robot=True)
    with transaction():
        ContactMessage.erase(Root("operator:cli"), erased.id)
    states = [mail(message_id)[1] for message_id in (erased.id, robot.id, uuid.uuid4())]
    assert states == ["succeeded"] * 3 and mailbox.mails == []
