"""Who gets messages of the contact form, and which are deleted when."""

from datetime import timedelta

import pytest

from models.contact.messages import CLOSED, ContactMessage
from models.contact.recipients import RecipientsInvalid, recipients, require_recipients
from models.platform.clock import now
from models.platform.database import transaction
from models.platform.principal import Root

TEXT = "Do you ship to Norway?"


def left(email="jo@example.com", **more):
    with transaction():
        return ContactMessage.submit(email=email, message=TEXT, **more)


def test_closed_messages_and_those_of_robots_are_purged_and_open_ones_never(clean):
    rows = [left(f"{n}@example.com", is_robot=n in (2, 3)) for n in range(5)]
    for row in (rows[0], rows[1]):
        ContactMessage.update(state=CLOSED).where(ContactMessage.id == row.id).execute()
    old, older = now() - timedelta(days=31), now() - timedelta(days=500)
    ContactMessage.update(closed_at=now() - timedelta(days=401)).where(ContactMessage.id == rows[0].id).execute()
    ContactMessage.update(closed_at=now() - timedelta(days=399)).where(ContactMessage.id == rows[1].id).execute()
    ContactMessage.update(created_at=old).where(ContactMessage.id == rows[2].id).execute()
    ContactMessage.update(created_at=older).where(ContactMessage.id == rows[4].id).execute()
    assert [ContactMessage.purge(400), ContactMessage.purge(400)] == [2, 0]
    assert {row.id for row in ContactMessage.select()} == {rows[1].id, rows[3].id, rows[4].id}


def test_all_messages_of_an_address_can_be_erased(clean):
    for email in ("jo@example.com", "JO@example.com", "al@example.com"):
        left(email)
    with transaction():
        assert ContactMessage.erase_all_of(Root("operator:cli"), " Jo@example.com ") == 2
    assert [row.email for row in ContactMessage.select()] == ["al@example.com"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a@example.com", ["a@example.com"]),
        (" a@example.com, b@example.com,a@example.com,", ["a@example.com", "b@example.com"]),
        ('["a@example.com", "b@example.com"]', ["a@example.com", "b@example.com"]),
    ],
)
def test_recipients_are_a_comma_list_or_a_json_list(configure, text, expected):
    configure(contact_email_to=text)
    assert recipients() == expected


@pytest.mark.parametrize(
    "text",
    [",", "[]", "[1]", "[a@example.com", "nobody", "Jo <a@example.com>", ",".join(f"{n}@x.org" for n in range(51))],
)
def test_recipients_that_cannot_be_understood_stop_the_start(configure, text):
    configure(contact_email_to=text)
    with pytest.raises(RecipientsInvalid):
        recipients()
    with pytest.raises(SystemExit, match=r"CONTACT_EMAIL_TO .*: write addresses"):
        require_recipients()
