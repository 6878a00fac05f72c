"""Asking, answering, listing and deleting: who sees what, in which order, and what concurrent callers get."""

import base64
import threading

import pytest

from models.auth.tenants import Tenant
from models.conversations import answers, history
from models.conversations.answers import Answer
from models.conversations.asking import ConversationBusy, IdempotencyConflict, Question
from models.conversations.chat_context import ChatContext
from models.conversations.conversation import Conversation, ConversationNotFound, Message, RunEvent
from models.conversations.search import search_own
from models.jobs.ledger import Job, LeaseLost
from models.platform.database import release, transaction
from models.platform.keyset import InvalidCursor
from models.runs.events import succeeded
from models.runs.run import Run
from workers import jobs


def answer(run, text="Fine.", job=None):
    stored = Answer(
        text=text,
        agent="triage",
        items=[
            {"type": "tool_call", "tool_name": "look", "call_arguments": {"at": [1, None]}, "call_output": None},
            {"type": "assistant_message", "role": "assistant", "content_text": text},
        ],
        attachments=[{"object_id": "o-1"}],
        result={"response": text},
        usage={"requests": 1},
    )
    answers.store(job or claim(run), run, stored, succeeded(run.conversation_key, "triage", text, None), 9)


def claim(run):
    return Job.claim(Job.get(Job.run_id == run.id).id, "me", 3)


def test_the_history_holds_questions_and_answers_in_order(person, ask):
    me = person()
    run = ask(me, "How are you?", "mine")
    answer(run)
    conversation = Conversation.get_visible(me, "mine")
    answered = str(Message.get(Message.role == "assistant").id)
    assert shown_to_model(ask(me, "And you?", "mine"), limit=3) == [
        {"role": "user", "content": "How are you?"},
        {"role": "assistant", "content": "Fine.", "attachments": [{"object_id": "o-1"}], "id": answered},
        {"role": "user", "content": "And you?"},
    ]
    assert (conversation.message_count, conversation.last_message) == (2, "Fine.")


def shown_to_model(run, limit=10):
    return ChatContext.begin(run.id, history_limit=limit).history


def test_the_history_of_a_retried_run_ends_with_its_own_question(person, ask):
    me = person()
    first = ask(me, "One", "mine")
    with transaction():
        Job.update(state="dead").where(Job.run_id == first.id).execute()
        Run.close(first.id, "failed", "internal_error", "It broke.")
    answer(ask(me, "Two", "mine"), "Second.")
    jobs.retry(Job.get(Job.run_id == first.id).id)
    assert shown_to_model(first) == [{"role": "user", "content": "One"}]
    answer(first, "First.")
    third = [message["content"] for message in shown_to_model(ask(me, "Three", "mine"), limit=4)]
    assert third == ["Two", "Second.", "First.", "Three"]


def test_a_question_is_stored_once_and_its_run_refers_to_it(person, ask):
    run = ask(person(), "How are you?", "mine", location={"city": "Kiel"})
    assert Run.get_by_id(run.id).request == {"location": {"city": "Kiel"}, "question_position": 0}
    assert [message.run_id for message in Message.select()] == [run.id]


def test_equal_questions_have_equal_fingerprints_and_others_do_not():
    question = Question("Hello", "triage", "mine", {"context": {"a": 1, "b": 2}})
    assert question.fingerprint == Question("Hello", "triage", "mine", {"context": {"b": 2, "a": 1}}).fingerprint
    assert question.fingerprint != Question("Hello", "triage", "mine").fingerprint


def test_an_id_that_is_not_a_uuid_names_a_conversation_within_its_tenant(person, ask):
    ask(person(), "one", "support")
    other = person(tenant=Tenant.create(slug="other", name="Other"))
    assert ask(other, "two", "support").conversation_key == "support"
    assert Conversation.select().where(Conversation.key == "support").count() == 2


def test_a_uuid_that_another_tenant_uses_is_not_found(person, ask):
    run = ask(person(), "mine")
    stranger = person("owner", tenant=Tenant.create(slug="other", name="Other"))
    with pytest.raises(ConversationNotFound):
        ask(stranger, "yours?", run.conversation_key)
    with pytest.raises(ConversationNotFound):
        Conversation.get_visible(stranger, run.conversation_key)


def test_members_see_their_own_conversations_and_admins_all_of_the_tenant(person, ask):
    me, colleague, admin = person(), person(), person("admin")
    ask(me, "private", "diary")
    with pytest.raises(ConversationNotFound):
        ask(colleague, "peek", "diary")
    assert Conversation.page(colleague, 10).items == []
    assert [row.key for row in Conversation.page(admin, 10).items] == ["diary"]


def test_a_conversation_has_one_active_run_at_a_time(person, ask):
    me = person()
    run = ask(me, "first", "busy")
    with pytest.raises(ConversationBusy) as busy:
        ask(me, "second", "busy")
    assert busy.value.details == {"run_id": str(run.id)}
    assert Message.select().count() == 1, "the refused question left nothing"


def test_concurrent_requests_with_one_idempotency_key_start_one_run(person, ask):
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


def test_pages_neither_skip_nor_repeat_a_conversation(person, ask):
    me = person()
    for n in range(7):
        ask(me, f"question {n}", f"c{n}")
    seen, cursor = [], None
    while True:
        page = Conversation.page(me, 3, cursor)
        seen += [row.key for row in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == [f"c{n}" for n in reversed(range(7))]


def test_a_cursor_from_before_keyset_pages_still_works(person, ask):
    me = person()
    for key in ("one", "two"):
        ask(me, "Hello", key)
    two = Conversation.get_visible(me, "two")
    cursor = base64.urlsafe_b64encode(f"{two.updated_at.isoformat()}|{two.id}".encode()).decode().rstrip("=")
    assert Conversation.page(me, 1).next_cursor == cursor
    assert [row.key for row in Conversation.page(me, 1, cursor).items] == ["one"]


@pytest.mark.parametrize("cursor", ["", "x", "!!!!", "é", "MjAyNg", "a" * 5000])
def test_an_invalid_cursor_is_refused(person, cursor):
    with pytest.raises(InvalidCursor):
        Conversation.page(person(), 3, cursor)


@pytest.mark.parametrize(
    "time", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-01-01T00:00:00+23:59"]
)
def test_a_cursor_with_a_time_zone_that_postgres_does_not_know_breaks_nothing(person, ask, time):
    ask(me := person(), "Hello")
    cursor = base64.urlsafe_b64encode(f"{time}|{me.user_id}".encode()).decode().rstrip("=")
    if time.startswith("2026"):
        assert Conversation.page(me, 1, cursor).items == []
    else:
        with pytest.raises(InvalidCursor):
            Conversation.page(me, 1, cursor)


def test_search_finds_only_the_callers_own_conversations(person, ask):
    me, colleague = person(), person()
    ask(me, "Where do the herons nest?", "birds")
    ask(colleague, "Herons again", "theirs")
    assert [hit.key for hit in search_own(me.user_id, me.tenant_id, "heron nesting", 5)] == ["birds"]
    assert search_own(me.user_id, me.tenant_id, "the", 5) == []


def test_deleting_removes_messages_and_runs_and_cancels_the_active_run(person, ask):
    me = person("admin")
    run = ask(me, "forget this", "gone")
    Conversation.remove(me, "gone")
    assert (Message.select().count(), Run.select().count()) == (0, 0)
    assert Job.get(Job.run_id == run.id).state == "cancelled"
    with pytest.raises(ConversationNotFound):
        Conversation.remove(me, "gone")


def test_an_answer_stores_its_message_and_events_and_finishes_its_run(person, ask):
    me = person()
    run, text = ask(me, "How are you?", "mine"), "Fine; 100 % \\ 'quoted' – ünïcode"  # noqa: RUF001
    answer(run, text)
    conversation = Conversation.get_visible(me, "mine")
    message = history.messages(conversation.id).items[-1]
    assert (message.position, message.role, message.content, message.run_id) == (1, "assistant", text, run.id)
    assert message.attachments == [{"object_id": "o-1"}]
    events = history.events(conversation.id).items
    assert [(event.sequence, event.type, event.content_text) for event in events] == [
        (0, "tool_call", None),
        (1, "assistant_message", text),
    ]
    assert (events[0].call_arguments, events[0].call_output) == ({"at": [1, None]}, None)
    stored = Run.get_by_id(run.id)
    assert (stored.state, stored.terminal["response_text"], stored.terminal_sequence) == ("succeeded", text, 9)
    assert (stored.result, stored.usage) == ({"response": text}, {"requests": 1})
    assert Job.get(Job.run_id == run.id).state == "succeeded"


def test_a_worker_that_lost_its_job_cannot_store_an_answer(person, ask):
    run = ask(person(), "How are you?", "mine")
    job = claim(run)
    Job.update(epoch=2).where(Job.id == job.id).execute()
    with pytest.raises(LeaseLost):
        answer(run, job=job)
    assert (Message.select().count(), RunEvent.select().count()) == (1, 0)
    assert Run.get_by_id(run.id).terminal is None
    assert Job.get_by_id(job.id).state == "running"


def test_the_answer_to_a_deleted_conversation_is_dropped_and_its_job_finished(person, ask):
    me = person("admin")
    run = ask(me, "forget this", "gone")
    job = claim(run)
    Conversation.remove(me, "gone")
    answer(run, job=job)
    assert (Message.select().count(), run.terminal) == (0, None)
    assert Job.get_by_id(job.id).state == "succeeded"
