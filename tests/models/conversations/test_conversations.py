"""Asking, answering, listing and deleting: visibility, order, and what two callers at once get."""

import threading

import pytest

from models.conversations.conversation import (
    Conversation,
    ConversationBusy,
    ConversationNotFound,
    IdempotencyConflict,
    InvalidCursor,
    Message,
)
from models.platform.database import release, transaction
from models.runs.events import succeeded
from models.runs.run import Run


def answer(run, text="Fine."):
    with transaction():
        Conversation.record(run, text=text, agent="triage", items=[{"type": "assistant_message", "content_text": text}])
        run.conclude("succeeded", succeeded(run.conversation_key, "triage", text, None), 9, result={})


def test_a_question_and_its_answer_stand_in_order(person, ask):
    me = person()
    run = ask(me, "How are you?", "mine")
    answer(run)
    conversation = Conversation.get_visible(me, "mine")
    assert Run.begin(ask(me, "And you?", "mine").id, history=3).history == [
        {"role": "user", "content": "How are you?"},
        {"role": "assistant", "content": "Fine."},
        {"role": "user", "content": "And you?"},
    ]
    assert (conversation.message_count, conversation.last_message) == (2, "Fine.")


def test_an_id_that_is_no_uuid_names_a_conversation_of_the_tenant_alone(person, ask):
    from models.auth.tenants import Tenant

    ask(person(), "one", "support")
    other = person(tenant=Tenant.create(slug="other", name="Other"))
    assert ask(other, "two", "support").conversation_key == "support"
    assert Conversation.select().where(Conversation.key == "support").count() == 2


def test_a_uuid_that_another_tenant_holds_is_unknown(person, ask):
    from models.auth.tenants import Tenant

    run = ask(person(), "mine")
    stranger = person("owner", tenant=Tenant.create(slug="other", name="Other"))
    with pytest.raises(ConversationNotFound):
        ask(stranger, "yours?", run.conversation_key)
    with pytest.raises(ConversationNotFound):
        Conversation.get_visible(stranger, run.conversation_key)


def test_members_see_their_own_conversations_and_admins_the_tenants(person, ask):
    me, colleague, admin = person(), person(), person("admin")
    ask(me, "private", "diary")
    with pytest.raises(ConversationNotFound):
        ask(colleague, "peek", "diary")
    assert Conversation.page(colleague, 10)[0] == []
    assert [row.key for row in Conversation.page(admin, 10)[0]] == ["diary"]


def test_a_conversation_answers_one_question_at_a_time(person, ask):
    me = person()
    run = ask(me, "first", "busy")
    with pytest.raises(ConversationBusy) as refused:
        ask(me, "second", "busy")
    assert refused.value.details == {"run_id": str(run.id)}
    assert Message.select().count() == 1, "the refused question left nothing"


def test_equal_idempotency_keys_start_one_run_even_at_the_same_time(person, ask):
    me, runs = person(), []

    def send():
        runs.append(ask(me, "once", idempotency_key="k").id)
        release()

    threads = [threading.Thread(target=send) for _ in range(6)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(runs) == 6 and len(set(runs)) == 1
    with pytest.raises(IdempotencyConflict):
        ask(me, "another", idempotency_key="k")


def test_pages_lose_and_repeat_nothing(person, ask):
    me = person()
    for n in range(7):
        ask(me, f"question {n}", f"c{n}")
    seen, cursor = [], None
    while True:
        rows, cursor = Conversation.page(me, 3, cursor)
        seen += [row.key for row in rows]
        if cursor is None:
            break
    assert seen == [f"c{n}" for n in reversed(range(7))]


@pytest.mark.parametrize("cursor", ["", "x", "!!!!", "é", "MjAyNg", "a" * 5000])
def test_a_cursor_of_nobodys_making_is_refused(person, cursor):
    with pytest.raises(InvalidCursor):
        Conversation.page(person(), 3, cursor)


def test_search_finds_ones_own_words_only(person, ask):
    me, colleague = person(), person()
    ask(me, "Where do the herons nest?", "birds")
    ask(colleague, "Herons again", "theirs")
    assert [row.key for row, _ in Conversation.search(me, "heron nesting")] == ["birds"]
    assert Conversation.search(me, "the") == []


def test_deleting_takes_messages_and_runs_along_and_stops_the_answer(person, ask):
    from models.jobs.ledger import Job

    me = person("admin")
    run = ask(me, "forget this", "gone")
    Conversation.remove(me, "gone")
    assert (Message.select().count(), Run.select().count()) == (0, 0)
    assert Job.get(Job.run_id == run.id).state == "cancelled"
    with pytest.raises(ConversationNotFound):
        Conversation.remove(me, "gone")


def test_an_answer_to_a_deleted_conversation_is_dropped(person, ask):
    me = person("admin")
    run = ask(me, "forget this", "gone")
    Conversation.remove(me, "gone")
    with transaction():
        assert Conversation.record(run, text="late", agent="triage", items=[]) is False
