"""Suppressions survive a new SECRET_KEY, and are one per address."""

from models.mail import suppressions
from models.mail.addresses import is_single, masked, without_addresses
from models.mail.suppressions import BOUNCE, COMPLAINT, OPERATOR, MailSuppression
from models.platform.database import transaction

OLD, NEW = "a" * 8 + "0123456789abcdef", "b" * 8 + "0123456789abcdef"


def add(address, reason):
    with transaction():
        return suppressions.add(address, reason)


def test_a_new_secret_key_forgets_nobody_who_is_mailed_meanwhile(clean, configure):
    configure(secret_key=OLD, secret_key_previous=None)
    add("jo@example.com", BOUNCE)
    configure(secret_key=NEW, secret_key_previous=OLD)
    assert suppressions.is_suppressed("jo@example.com")
    configure(secret_key=NEW, secret_key_previous=None)
    assert suppressions.is_suppressed("jo@example.com")
    assert not suppressions.is_suppressed("eve@example.com")


def test_two_rows_of_one_address_act_as_the_stronger_one_and_go_together(clean, configure):
    configure(secret_key=OLD, secret_key_previous=None)
    add("jo@example.com", BOUNCE)
    configure(secret_key=NEW, secret_key_previous=None)
    add("jo@example.com", COMPLAINT)
    configure(secret_key=NEW, secret_key_previous=OLD)
    assert suppressions.is_suppressed("jo@example.com", security=True)
    with transaction():
        suppressions.remove("operator:test", "jo@example.com")
    assert MailSuppression.select().count() == 0


def test_a_stronger_reason_replaces_a_weaker_one(clean):
    assert add("jo@example.com", COMPLAINT)[1]
    assert add("jo@example.com", OPERATOR)[1]
    row, is_new = add("jo@example.com", BOUNCE)
    assert (row.reason, is_new) == (OPERATOR, False)


def test_addresses_are_masked_in_texts():
    assert masked("jo@example.com") == "j***@example.com"
    assert [masked(text) for text in ("", "@x", "jo@", "jo")] == ["***"] * 4
    text = "550 <jo.doe+x@mail.example.com>: no such user, not even jo@b"
    assert without_addresses(text) == "550 <j***@mail.example.com>: no such user, not even j***@b"


def test_an_address_is_that_of_one_mailbox():
    for text in ("jo.doe+x@example.com", "sinéad.o'brien@example.com", "{jo}/x=y!z@example.com"):
        assert is_single(text), text
    for text in (
        "",
        "jo",
        "a@b, c@d",
        "Jo <a@b>",
        "a@b\n",
        "a@b\r\nBcc: c@d",
        "a b@c",
        '"a"@b',
        "a@b@c",
        "a@b;c",
        "a\0@b",
        "a\ud800@b",
        "a\\@b",
    ):
        assert not is_single(text), text
