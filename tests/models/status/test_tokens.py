"""Tokens of subscriptions: signed, bound to what was asked for, and readable after SECRET_KEY has changed."""

from datetime import UTC, datetime

import pytest

from models.platform.ids import uuid7
from models.status import tokens
from models.status.tokens import CHALLENGE, CONFIRM, NotOurs, read

EXPIRY = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


def make(purpose=CONFIRM, row_id=None, components=("api", "chat")):
    return tokens.create(purpose, row_id or uuid7(), EXPIRY, "all", components)


def test_a_token_says_what_it_was_made_of(clean):
    row_id = uuid7()
    opened = read(CONFIRM, f" {make(row_id=row_id)}\n")
    assert (opened.subscription_id, opened.expires_at) == (row_id, EXPIRY)
    assert (opened.severity_filter, opened.components) == ("all", ["api", "chat"])


def test_a_token_fits_into_a_link(clean):
    token = make()
    assert token.isascii() and token.replace("-", "").replace("_", "").replace(".", "").isalnum() and len(token) < 200


@pytest.mark.parametrize(
    "bad", ["", ".", "a", "a.b", "ä.ö", "x" * 9000, "e30.AAAA", "\0.\0", ".".join("abc"), "A" * 43 + "." + "A" * 43]
)
def test_what_is_no_token(clean, bad):
    with pytest.raises(NotOurs):
        read(CONFIRM, bad)


def test_no_character_of_a_token_can_be_changed(clean):
    token = make()
    for position, character in enumerate(token[:-1]):  # the last one holds bits that nothing uses
        changed = token[:position] + ("A" if character != "A" else "B") + token[position + 1 :]
        with pytest.raises(NotOurs):
            read(CONFIRM, changed)


def test_a_token_is_for_one_purpose(clean):
    with pytest.raises(NotOurs):
        read(CHALLENGE, make(CONFIRM))


def test_tokens_outlive_a_change_of_the_secret_key_until_it_is_forgotten(clean, configure):
    row_id = uuid7()
    configure(secret_key="a" * 40)
    token, leaving = make(row_id=row_id), tokens.unsubscribing(row_id)
    configure(secret_key="b" * 40, secret_key_previous="a" * 40)
    assert read(CONFIRM, token).subscription_id == row_id
    assert tokens.may_unsubscribe(row_id, leaving)
    configure(secret_key="b" * 40, secret_key_previous=None)
    with pytest.raises(NotOurs):
        read(CONFIRM, token)
    assert not tokens.may_unsubscribe(row_id, leaving)


@pytest.mark.parametrize("bad", ["", "x", "ä", "0" * 64, "\0"])
def test_a_wrong_token_does_not_unsubscribe(clean, bad):
    row_id = uuid7()
    assert not tokens.may_unsubscribe(row_id, bad)
    assert not tokens.may_unsubscribe(row_id, tokens.unsubscribing(uuid7()))
    assert tokens.may_unsubscribe(row_id, tokens.unsubscribing(row_id))
