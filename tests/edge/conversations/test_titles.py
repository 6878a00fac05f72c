"""Titles: made of the first question, shown everywhere, and changed by those who may ask in the conversation."""

import pytest

from models.auth.tenants import Tenant
from models.conversations.conversation import Conversation
from models.conversations.titles import title_of

LONG = "How do I keep the herons away from my pond without harming them or the fish?"


@pytest.mark.parametrize(
    ("question", "title"),
    [
        ("Hello", "Hello"),
        ("  two\n\n lines\t", "two lines"),
        (LONG, "How do I keep the herons away from my pond without harming…"),
        ("x" * 100_000, "x" * 59 + "…"),
        ("鷺" * 100, "鷺" * 59 + "…"),
        (" " * 100_000, None),
        ("a" * 60, "a" * 60),
    ],
)
def test_a_title_is_the_first_words_of_a_question(question, title):
    assert title_of(question) == title


def rename(http, headers, title, key="c1"):
    return http.simulate_patch(f"/api/v1/conversations/{key}", json={"title": title}, headers=headers)


def shown(http, headers):
    listed = http.simulate_get("/api/v1/conversations", headers=headers).json["items"][0]["title"]
    detail = http.simulate_get("/api/v1/conversations/c1", headers=headers).json["title"]
    return listed, detail


def test_the_first_question_names_a_conversation(http, signed, ask_as):
    headers, user = signed()
    ask_as(user, LONG, "c1")
    assert shown(http, headers) == (title_of(LONG),) * 2


def test_a_chosen_title_is_shown_and_stays_and_moves_nothing(http, signed, ask_as):
    headers, user = signed()
    ask_as(user, LONG, "c1")
    before = Conversation.get()
    answer = rename(http, headers, "  Birds\n\tand ponds ")
    assert (answer.status_code, answer.json["title"], answer.json["conversation_id"]) == (200, "Birds and ponds", "c1")
    assert shown(http, headers) == ("Birds and ponds",) * 2
    after = Conversation.get()
    assert (after.updated_at, after.last_message_at) == (before.updated_at, before.last_message_at)


@pytest.mark.parametrize("title", ["", "  \n ", "x" * 201, None, 5, ["a"], "nul \0"])
def test_a_title_that_cannot_be_one_is_a_422(http, signed, ask_as, title):
    headers, user = signed()
    ask_as(user, LONG, "c1")
    assert rename(http, headers, title).status_code == 422
    assert shown(http, headers)[0] == title_of(LONG)


def test_only_the_owner_and_the_tenants_admins_rename(http, signed, ask_as):
    _, owner = signed()
    ask_as(owner, LONG, "c1")
    colleague, admin = signed()[0], signed("admin")[0]
    stranger, _ = signed("owner", tenant=Tenant.create(slug="other", name="Other"))
    for headers in (colleague, stranger):
        assert rename(http, headers, "Mine").status_code == 404
    assert rename(http, signed("viewer")[0], "Mine").status_code == 403
    assert rename(http, admin, "x" * 200).json["title"] == "x" * 200


def test_a_conversation_without_a_title_gets_one_with_its_next_question(http, signed, ask_as):
    headers, user = signed()
    run = ask_as(user, LONG, "c1")
    Conversation.update(title=None).execute()
    run.delete_instance()
    ask_as(user, "And now?", "c1")
    assert shown(http, headers) == ("And now?",) * 2
