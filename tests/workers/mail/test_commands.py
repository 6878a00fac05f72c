"""`python -m workers.mail`: suppressions, and a test mail."""

import pytest

from models.platform.audit import AuditEvent
from workers.mail.commands import main

pytestmark = pytest.mark.usefixtures("clean")


def test_an_operator_suppresses_an_address_lists_it_and_frees_it(capsys):
    assert main(["suppressions", "list"]) == 0
    assert main(["suppressions", "add", "jo@example.com"]) == 0
    assert main(["suppressions", "list", "--reason", "operator", "--limit", "1"]) == 0
    assert main(["suppressions", "remove", "jo@example.com"]) == 0
    none, added, listed, removed = capsys.readouterr().out.splitlines()
    assert none == "There are none." and added == "j***@example.com gets no mail."
    assert listed.split()[2:] == ["operator", "j***@example.com"]
    assert removed == "j***@example.com gets mail again."
    events = AuditEvent.newest(actor=None, subject=None, action="mail_suppression", tenant_id=None, limit=9)
    assert len(events) == 2 and all(event.actor.startswith("operator:") for event in events)


@pytest.mark.parametrize("arguments", [["remove", "jo@example.com"], ["add", "jo"], ["add", "a@b, c@d"]])
def test_what_cannot_be_done_is_an_error(capsys, arguments):
    assert main(["suppressions", *arguments]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_a_test_mail_shows_whether_mails_can_be_sent(mailbox, capsys, configure):
    assert main(["test", "jo@example.com"]) == 0
    [(recipients, message)] = mailbox.mails
    assert recipients == ["jo@example.com"] and message["Subject"] == "longshore: A test"
    mailbox.answers = ["554 no"]
    assert main(["test", "jo@example.com"]) == 2
    assert "554 no" in capsys.readouterr().err
    main(["suppressions", "add", "jo@example.com"])
    assert main(["test", "jo@example.com"]) == 2
    assert "suppressed" in capsys.readouterr().err
    configure(smtp_url=None)
    assert main(["test", "eve@example.com"]) == 2
    assert "SMTP_URL is not set" in capsys.readouterr().err
