"""Mails that confirm subscriptions to the status, and those that tell of a webhook that is disabled."""

import re
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from models.jobs.ledger import Job
from models.platform.clock import now
from models.platform.database import transaction
from models.status import subscribing, tokens
from models.status.subscriptions import ACTIVE, DISABLED, PENDING, REVOKED, StatusSubscription
from tests.support import jobs
from tests.support.status import subscribe

JO = "jo@example.com"
LINK = re.compile(r"https?://\S+/confirm\?\S+")


def mail(name, row, **args):
    from workers.jobs import KINDS, enqueue
    from workers.mail import status

    with transaction():
        job = enqueue(KINDS[name], subscription_id=str(row.id), **args)
    jobs.do({"status.confirm": status.mail_confirmation, "status.disabled": status.mail_disabled})
    return Job.get_by_id(job.id)


def ask(row, severity="major", components=()):
    return mail("status.confirm", row, severity_filter=severity, components=list(components))


def confirm(message):
    """Follow the link of a mail as the page does."""
    [url] = set(LINK.findall(message.get_body(("plain",)).get_content()))
    query = parse_qs(urlsplit(url).query)
    with transaction():
        row = subscribing.confirm(query["token"][0])
    assert query["subscription_id"] == [str(row.id)]
    return row


def test_a_mail_says_what_it_confirms_and_how_to_leave(mailbox, clean, configure):
    configure(status_page_url="https://status.example.com/")
    row = subscribe(JO, status=PENDING)
    assert ask(row, "all", ["api", "chat"]).state == "succeeded"
    [(to, message)] = mailbox.mails
    assert to == [JO] and "Confirm status alerts for" in message["Subject"]
    text = message.get_body(("plain",)).get_content()
    assert "all incidents and maintenance (" in " ".join(text.split()) and "https://status.example.com/confirm?" in text
    assert message["List-Unsubscribe"] == f"<{tokens.unsubscribe_url(row)}>"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    row = confirm(message)
    assert (row.status, row.severity_filter, row.components) == (ACTIVE, "all", ["api", "chat"])


def test_neither_the_ledger_nor_a_log_contains_the_token(mailbox, clean, caplog):
    row = subscribe(JO, status=PENDING)
    caplog.set_level("DEBUG")
    job = ask(row)
    text = mailbox.mails[0][1].get_body(("plain",)).get_content()
    token = LINK.search(text)[0].partition("token=")[2]
    ours = [str(record.__dict__) for record in caplog.records if not record.name.startswith("mail.log")]
    assert ours and len(token) > 80 and token not in str(ours) + str(job.__data__)
    assert JO not in str(ours) + str(job.__data__)


def test_each_mail_that_was_sent_can_be_used(mailbox, clean):
    row = subscribe(JO, status=PENDING)
    ask(row, "major")
    ask(row, "maintenance")
    first, second = (message for _, message in mailbox.mails)
    assert confirm(second).severity_filter == "maintenance"
    assert confirm(first).severity_filter == "major"


def test_a_mail_that_fails_is_sent_again(mailbox, clean):
    from workers.mail import status

    mailbox.answers = ["451 later"]
    row = subscribe(JO, status=PENDING)
    assert ask(row).state == "queued"
    jobs.do({"status.confirm": status.mail_confirmation})
    assert len({message["Message-ID"] for _, message in mailbox.mails}) == 1
    assert confirm(mailbox.mails[-1][1]).status == ACTIVE


def test_a_subscriber_is_told_so_once_a_day_also_after_a_failure(mailbox, clean):
    from workers.mail import status

    mailbox.answers = ["451 later"]
    row = subscribe(JO, severity="major")
    ask(row)
    jobs.do({"status.confirm": status.mail_confirmation})
    assert ["already" in m.get_body(("plain",)).get_content() for _, m in mailbox.mails] == [True, True]
    ask(row)
    assert len(mailbox.mails) == 2


def test_a_subscriber_who_wants_something_else_confirms_it(mailbox, clean):
    row = subscribe(JO, severity="major")
    ask(row, "all")
    assert StatusSubscription.get_by_id(row.id).severity_filter == "major"
    text = mailbox.mails[0][1].get_body(("plain",)).get_content()
    assert "stay as they are" in " ".join(text.split())
    assert confirm(mailbox.mails[0][1]).severity_filter == "all"


@pytest.mark.parametrize("gone", ["revoked", "deleted"])
def test_nothing_is_sent_to_one_that_has_ended(mailbox, clean, gone):
    row = subscribe(JO, status=REVOKED if gone == "revoked" else PENDING)
    if gone == "deleted":
        row.delete_instance()
    assert ask(row).state == "succeeded" and mailbox.mails == []


def test_an_address_whose_key_is_lost_gets_nothing_and_the_job_ends(mailbox, clean):
    row = subscribe(JO, status=PENDING)
    StatusSubscription.update(target_encrypted="x").execute()
    assert ask(row).state == "succeeded" and mailbox.mails == []


def test_whoever_has_made_a_webhook_is_told_that_it_is_disabled(mailbox, person):
    maker = person("admin", email="maker@example.com")
    row = subscribe(
        "https://hook.example.com/",
        status=DISABLED,
        error="It cannot be reached.",
        failing_since=now() - timedelta(days=3),
    )
    StatusSubscription.update(creator=str(maker.user_id)).execute()
    assert mail("status.disabled", row).state == "succeeded"
    [(to, message)] = mailbox.mails
    assert to == ["maker@example.com"] and "It cannot be reached." in message.get_body(("plain",)).get_content()


@pytest.mark.parametrize(("status", "creator"), [(ACTIVE, None), (DISABLED, "service-account:x"), (DISABLED, "public")])
def test_nobody_else_is(mailbox, person, status, creator):
    row = subscribe("https://hook.example.com/", status=status)
    StatusSubscription.update(creator=creator or str(person("admin").user_id)).execute()
    assert mail("status.disabled", row).state == "succeeded" and mailbox.mails == []
