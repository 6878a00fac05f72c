"""Asking, answering, listing and deleting: visibility, order, and what two callers at once get."""

import threading

import pytest

from models.conversations import answers
from models.conversations.conversation import (
    Conversation,
    ConversationBusy,
    ConversationNotFound,
    IdempotencyConflict,
    InvalidCursor,
    Message,
    RunEvent,
)
from models.jobs.ledger import Job, LeaseLost
from models.platform.database import release
from models.runs.events import succeeded
from models.runs.run import Run


def answer(run, text="Fine.", job=None):
    answers.store(
        job or claim(run),
        run,
        text=text,
        agent="triage",
        items=[
            {"type": "tool_call", "tool_name": "look", "call_arguments": {"at": [1, None]}, "call_output": None},
            {"type": "assistant_message", "role": "assistant", "content_text": text},
        ],
        attachments=[{"object_id": "o-1"}],
        terminal=succeeded(run.conversation_key, "triage", text, None),
        sequence=9,
        result={"response": text},
        usage={"requests": 1},
    )


def claim(run):
    return Job.claim(Job.get(Job.run_id == run.id).id, "me", 3)


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

    me = person("admin")
    run = ask(me, "forget this", "gone")
    Conversation.remove(me, "gone")
    assert (Message.select().count(), Run.select().count()) == (0, 0)
    assert Job.get(Job.run_id == run.id).state == "cancelled"
    with pytest.raises(ConversationNotFound):
        Conversation.remove(me, "gone")


def test_an_answer_leaves_its_message_its_events_and_the_end_of_its_run(person, ask):
    me = person()
    run, text = ask(me, "How are you?", "mine"), "Fine; 100 % \\ 'quoted' – ünïcode"
    answer(run, text)
    conversation = Conversation.get_visible(me, "mine")
    said = conversation.messages_in_order()[-1]
    assert (said.position, said.role, said.content, said.run_id) == (1, "assistant", text, run.id)
    assert said.attachments == [{"object_id": "o-1"}]
    events = conversation.events_in_order()
    assert [(event.sequence, event.type, event.content_text) for event in events] == [
        (0, "tool_call", None),
        (1, "assistant_message", text),
    ]
    assert (events[0].call_arguments, events[0].call_output) == ({"at": [1, None]}, None)
    stored = Run.get_by_id(run.id)
    assert (stored.state, stored.terminal["response_text"], stored.terminal_sequence) == ("succeeded", text, 9)
    assert (stored.result, stored.usage) == ({"response": text}, {"requests": 1})
    assert Job.get(Job.run_id == run.id).state == "succeeded"


def test_whoever_lost_the_job_writes_nothing(person, ask):
    run = ask(person(), "How are you?", "mine")
    job = claim(run)
    Job.update(epoch=2).where(Job.id == job.id).execute()
    with pytest.raises(LeaseLost):
        answer(run, job=job)
    assert (Message.select().count(), RunEvent.select().count()) == (1, 0)
    assert Run.get_by_id(run.id).terminal is None
    assert Job.get_by_id(job.id).state == "running"


def test_an_answer_to_a_deleted_conversation_is_dropped_and_ends_its_job(person, ask):
    me = person("admin")
    run = ask(me, "forget this", "gone")
    job = claim(run)
    Conversation.remove(me, "gone")
    answer(run, job=job)
    assert (Message.select().count(), run.terminal) == (0, None)
    assert Job.get_by_id(job.id).state == "succeeded"
