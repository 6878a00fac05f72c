"""Mails about accounts: their content, their recipients, and retries while the mail server is away."""

import logging
import re

import pytest

from models.auth import email_tokens, password_changes
from models.auth.users import User
from models.jobs.ledger import Job
from models.platform.clock import now
from models.platform.database import transaction
from models.platform.settings import settings
from tests.support.accounts import CHEAP_HASHER, add_user, authenticate
from tests.support.mails import plain
from workers.broker import broker
from workers.jobs import MAIL_LOCKED, MAIL_NOTICE, MAIL_RESET, MAIL_VERIFY, enqueue
from workers.mail.accounts import NOTICES
from workers.mail.build import TEMPLATES

PASSWORD = "correct horse battery"
NEW = "violet tractor umbrella"
TOKEN = re.compile(r"\b[0-9a-f]{32}\.[0-9a-f]{64}\b")

pytestmark = pytest.mark.usefixtures("mailbox")


@pytest.fixture
def user(tenant):
    return add_user("jo@example.com", PASSWORD, tenant=tenant)


def attempt(job):
    """Run a job as a worker does when it is due; returns the job afterwards."""
    Job.update(due_at=now()).where(Job.id == job.id).execute()
    broker.get_actor(job.name).fn(str(job.id))
    return Job.get_by_id(job.id)


def mail(kind, **args):
    with transaction():
        job = enqueue(kind, **args)
    return attempt(job)


def the_token(message):
    """The one token in a mail, which is there as a link and as a code."""
    tokens = set(TOKEN.findall(plain(message)))
    assert len(tokens) == 1
    return tokens.pop()


def confirm(token):
    user, password_hash = password_changes.choose_password_by_token(token, NEW, hasher=CHEAP_HASHER)
    with transaction():
        password_changes.reset_by_token(token, user, password_hash)
    return user


def test_a_reset_mail_has_a_token_that_sets_a_password(user, mailbox):
    assert mail(MAIL_RESET, email="jo@example.com").state == "succeeded"
    [(recipients, message)] = mailbox.mails
    assert recipients == [message["To"]] == ["jo@example.com"]
    assert (message["From"], message["Subject"]) == (settings.mail_from, "longshore: Reset your password")
    assert message["Auto-Submitted"] == "auto-generated"
    token = the_token(message)
    assert f"{settings.app_public_url}/reset-password?token={token}" in plain(message).splitlines()
    assert confirm(token).id == user.id
    assert authenticate("jo@example.com", NEW).id == user.id


def test_a_verification_mail_has_a_token_that_verifies_the_address(user, mailbox):
    assert mail(MAIL_VERIFY, user_id=str(user.id)).state == "succeeded"
    [(recipients, message)] = mailbox.mails
    assert (recipients, message["Subject"]) == (["jo@example.com"], "longshore: Verify your address")
    token = the_token(message)
    assert f"{settings.app_public_url}/verify-email?token={token}" in plain(message).splitlines()
    assert email_tokens.user_id_of(token, email_tokens.VERIFY_EMAIL) == user.id


@pytest.mark.parametrize("notice", NOTICES)
def test_a_notice_says_what_happened_and_has_no_token(user, mailbox, notice):
    assert mail(MAIL_NOTICE, user_id=str(user.id), notice=notice).state == "succeeded"
    [(recipients, message)] = mailbox.mails
    template = (TEMPLATES / f"{notice}.txt").read_text()
    subject, first_line = re.search(r'"(.*)"', template)[1], template.splitlines()[1]
    assert (recipients, message["Subject"]) == (["jo@example.com"], f"longshore: {subject}")
    assert first_line in " ".join(plain(message).split()) and not TOKEN.search(plain(message))
    assert f"reset your password at once: {settings.app_public_url}" in plain(message)


@pytest.mark.parametrize(
    ("status", "kind", "args"),
    [
        ("active", MAIL_RESET, {"email": "nobody@example.com"}),
        ("disabled", MAIL_RESET, {"email": "jo@example.com"}),
        ("verified", MAIL_VERIFY, {}),
        ("gone", MAIL_VERIFY, {}),
        ("gone", MAIL_NOTICE, {"notice": "password_changed"}),
        ("gone", MAIL_LOCKED, {"email": "jo@example.com"}),
    ],
)
def test_without_a_recipient_the_job_succeeds_and_sends_nothing(user, mailbox, status, kind, args):
    if status == "gone":
        user.delete_instance()
    elif status == "verified":
        User.update(email_verified_at=now()).execute()
    else:
        User.update(status=status).execute()
    if kind not in (MAIL_RESET, MAIL_LOCKED):
        args = {"user_id": str(user.id), **args}
    assert mail(kind, **args).state == "succeeded"
    assert mailbox.mails == [] and email_tokens.EmailToken.select().count() == 0


def test_while_the_mail_server_is_away_the_job_waits(user, mailbox):
    mailbox.stop()
    job = mail(MAIL_RESET, email="jo@example.com")
    assert (job.state, job.failures) == ("queued", 1)
    assert "ConnectionRefusedError" in job.error
    mailbox.start()
    assert attempt(job).state == "succeeded"
    [(_, message)] = mailbox.mails
    confirm(the_token(message))


def test_without_smtp_url_the_job_fails_with_that_reason(user, configure):
    configure(smtp_url=None)
    job = mail(MAIL_RESET, email="jo@example.com")
    assert (job.state, job.failures) == ("queued", 1) and "SMTP_URL" in job.error


def test_a_retried_mail_with_a_token_has_a_new_token_and_message_id(user, mailbox):
    mailbox.answers = ["451 come back later"]
    job = mail(MAIL_RESET, email="jo@example.com")
    assert (job.state, job.failures) == ("queued", 1)
    assert attempt(job).state == "succeeded"
    first, second = (message for _, message in mailbox.mails)
    assert first["Message-ID"] != second["Message-ID"], "a mailbox that drops duplicates would keep the void token"
    confirm(the_token(second))


def test_a_mail_that_is_not_accepted_leaves_no_token_and_voids_none(user, mailbox):
    assert mail(MAIL_RESET, email="jo@example.com").state == "succeeded"
    [(_, message)] = mailbox.mails
    mailbox.answers = ["451 come back later"]
    assert mail(MAIL_RESET, email="jo@example.com").state == "queued"
    assert email_tokens.EmailToken.select().count() == 1
    confirm(the_token(message))


def test_the_owner_of_a_locked_account_learns_what_still_works(user, mailbox):
    assert mail(MAIL_LOCKED, email="jo@example.com").state == "succeeded"
    [(recipients, message)] = mailbox.mails
    assert (recipients, message["Subject"]) == (
        ["jo@example.com"],
        "longshore: Somebody tried wrong passwords for your account",
    )
    text = " ".join(plain(message).split())
    assert "For 60 minutes nobody can sign in with a password from a new device" in text
    assert "You stay signed in" in text and settings.app_public_url in text and not TOKEN.search(text)


def test_a_retried_notice_keeps_its_message_id(user, mailbox):
    mailbox.answers = ["451 come back later"]
    assert attempt(mail(MAIL_NOTICE, user_id=str(user.id), notice="password_changed")).state == "succeeded"
    first, second = (message for _, message in mailbox.mails)
    assert first["Message-ID"] == second["Message-ID"]


def test_a_mail_that_is_never_accepted_ends_as_a_dead_job(user, mailbox):
    mailbox.answers = ["554 no"] * 99
    job = mail(MAIL_RESET, email="jo@example.com")
    while job.state == "queued":
        job = attempt(job)
    assert (job.state, len(mailbox.mails)) == ("dead", MAIL_RESET.retries + 1)


@pytest.mark.parametrize("kind", [MAIL_RESET, MAIL_VERIFY])
def test_a_token_appears_in_no_job_no_log_and_no_table(user, mailbox, caplog, kind):
    caplog.set_level(logging.DEBUG)
    mailbox.answers = ["451 come back later"]
    job = mail(kind, **({"email": "jo@example.com"} if kind is MAIL_RESET else {"user_id": str(user.id)}))
    [(_, message)] = mailbox.mails
    token = the_token(message)
    ours = [record for record in caplog.records if record.name != "mail.log"]  # the stand-in mail server's own log
    written = [str(job.__data__), *(f"{vars(record)} {record.exc_text}" for record in ours)]
    written += [str(row.__data__) for row in email_tokens.EmailToken.select()]
    assert any("come back later" in text and "job.failed" in text for text in written), "the failure itself is logged"
    assert not [text for text in written if token.partition(".")[2] in text]


@pytest.mark.parametrize(
    "address",
    [
        "jo@example.com\r\nBcc: eve@example.com",
        "jo@example.com\nSubject: hello\n\neve was here",
        "jo@example.com, eve@example.com",
        "jo@example.com>\r\nRCPT TO:<eve@example.com",
    ],
)
def test_an_address_is_at_most_one_recipient(user, mailbox, address):
    User.update(email=address).execute()
    mail(MAIL_NOTICE, user_id=str(user.id), notice="password_changed")
    assert not [recipient for recipients, _ in mailbox.mails for recipient in recipients if "eve" in recipient]
    for _, message in mailbox.mails:
        assert message["Bcc"] is None and message.get_all("Subject") == ["longshore: Your password was changed"]
