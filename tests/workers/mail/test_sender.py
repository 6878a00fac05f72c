"""Many mails by one sender, and what each of them may carry."""

import pytest

from models.mail import suppressions
from models.mail.suppressions import BOUNCE, COMPLAINT
from models.platform.database import transaction
from tests.support.mails import html, plain
from workers.gateways.mail import MailFailed
from workers.mail.send import sender

pytestmark = pytest.mark.usefixtures("clean")
UNSUBSCRIBE = f"https://status.example.com/status/unsubscribe?subscription_id={'0' * 36}&token={'x' * 43}"


def send(by, to="jo@example.com", template="test", message_id="m1", **more):
    return by.send(to, template, message_id=message_id, **more)


def test_many_mails_go_over_one_connection(mailbox):
    with sender() as by:
        for number in range(5):
            assert send(by, f"jo{number}@example.com", message_id=f"m{number}")
    assert [recipients for recipients, _ in mailbox.mails] == [[f"jo{number}@example.com"] for number in range(5)]
    assert mailbox.connections == 1


def test_after_a_failure_the_next_mail_is_sent(mailbox):
    with sender() as by:
        send(by)
        mailbox.answers = ["554 no"]
        with pytest.raises(MailFailed, match="554 no"):
            send(by)
        assert send(by)
    assert len(mailbox.mails) == 3


def test_a_connection_that_the_server_has_closed_is_replaced(mailbox):
    with sender() as by:
        send(by)
        mailbox.stop()
        with pytest.raises(MailFailed):
            send(by)
        mailbox.start()
        assert send(by)


def test_a_mail_program_finds_how_to_unsubscribe(mailbox):
    with sender() as by:
        send(by, unsubscribe_url=UNSUBSCRIBE)
    [(_, message)] = mailbox.mails
    assert message["List-Unsubscribe"] == f"<{UNSUBSCRIBE}>", "not folded, not encoded"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert UNSUBSCRIBE in plain(message) and UNSUBSCRIBE.replace("&", "&amp;") in html(message)


def test_a_mail_has_the_headers_and_the_reply_address_it_was_given(mailbox):
    with sender() as by:
        send(by, reply_to="eve@example.com", headers={"X-Contact-Ref": "r1"}, message_id="r1")
    [(_, message)] = mailbox.mails
    assert (message["Reply-To"], message["X-Contact-Ref"]) == ("eve@example.com", "r1")
    assert message["Message-ID"] == "<r1@localhost>"


@pytest.mark.parametrize(
    "more",
    [
        {"to": "jo@example.com, eve@example.com"},
        {"to": "Eve <jo@example.com>"},
        {"to": ""},
        {"reply_to": "a@example.com\r\nBcc: eve@example.com"},
        {"reply_to": "a@example.com, eve@example.com"},
    ],
)
def test_an_address_that_is_not_exactly_one_is_refused_for_ever(mailbox, more):
    with sender() as by, pytest.raises(MailFailed) as caught:
        send(by, **more)
    assert caught.value.is_permanent and mailbox.mails == [] and "eve" not in str(caught.value)


@pytest.mark.parametrize("value", ["r1\r\nBcc: eve@example.com", "r1\nX: y"])
def test_a_header_with_a_line_break_is_refused(mailbox, value):
    with sender() as by, pytest.raises(ValueError, match="linefeed or carriage"):
        send(by, headers={"X-Contact-Ref": value})
    assert mailbox.mails == []


def test_a_suppressed_address_gets_nothing(mailbox):
    with transaction():
        suppressions.add("Jo@Example.com", BOUNCE)
    with sender() as by:
        assert send(by) is False
    assert mailbox.mails == []


def test_somebody_who_has_complained_still_gets_mails_about_the_security_of_the_account(mailbox):
    with transaction():
        suppressions.add("jo@example.com", COMPLAINT)
    with sender() as by:
        assert send(by) is False
        assert send(by, template="password_changed")
    assert len(mailbox.mails) == 1
