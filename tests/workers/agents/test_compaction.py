"""Summaries of older messages: written once, kept, extended, paid for once, and done without if there is none."""

import json

import pytest

from models.conversations.chat_context import ChatContext
from models.conversations.conversation import Conversation, Message
from models.jobs.ledger import Job
from models.platform.database import database, transaction
from models.runs import progress
from models.runs.run import Run
from workers import chat, jobs, runtime
from workers.agents.memory import SUMMARY
from workers.jobs import CHAT_RUN

pytestmark = pytest.mark.usefixtures("provider")
FIRST = "[[text=It was about herons.]]"  # also what a summary of it says: the stand-in obeys the last user message


class Killed(BaseException):
    """Stands for the end of a process."""


@pytest.fixture
def say(person, ask, configure):
    """say(message) -> the run of one more question of the conversation, answered."""
    configure(agent_compaction="summarize", agent_history_messages=4, job_lease_seconds=-1, openai_wire="responses")
    me = person("admin")

    def answered(message):
        return attempt(ask(me, message, "c1"))

    return answered


def attempt(run):
    runtime.execute(CHAT_RUN, chat.run_chat, str(Job.get(Job.run_id == run.id).id))
    return Run.get_by_id(run.id)


def stored():
    return database.execute_sql("select summary, summary_end from conversation").fetchone()


def compacted(run):
    events = [json.loads(entry.data) for entry in progress.read(run.id, count=5000)]
    return [event["payload"] for event in events if event["event"] == "context_compacted"]


def given_to_model(run):
    """[role, text] of what the model was given for a question that it echoes."""
    return [[entry["role"], entry["text"]] for entry in json.loads(run.result["response"])]


def test_older_messages_are_summarised_once_and_the_summary_is_used_again(say, stats, provider):
    say(FIRST)
    say("Two, please.")
    assert stored() == (None, None)
    before = stats(provider)["responses"]
    third = say("[[echo_history]] three")
    assert stored() == ("It was about herons.", 4)
    assert stats(provider)["responses"] - before == third.usage["requests"] == 2
    assert given_to_model(third) == [
        ["user", f"{SUMMARY}It was about herons."],
        ["assistant", "I will take it into account."],
        ["user", "[[echo_history]] three"],
    ]
    [payload] = compacted(third)
    assert (payload["messages_compacted"], payload["messages_kept"]) == (4, 1)
    assert payload["estimated_tokens"] > 0 and payload["summary_tokens"] == 5
    fourth = say("[[echo_history]] four")
    assert (compacted(fourth), fourth.usage["requests"]) == ([], 1)
    assert [role for role, _ in given_to_model(fourth)] == ["user", "assistant"] * 2 + ["user"]


def test_a_summary_is_extended_by_what_came_after_it(say):
    for message in (FIRST, "Two, please.", "Three, please.", "Four, please."):
        say(message)
    assert stored() == ("It was about herons.", 4)
    fifth = say("[[text=Five]]")
    assert [payload["messages_compacted"] for payload in compacted(fifth)] == [4]
    summary, end = stored()
    assert end == 8 and summary


def test_many_tokens_are_summarised_as_many_messages_are(say, configure):
    configure(agent_history_messages=100, agent_context_tokens=2000)
    say(f"{FIRST} {'word ' * 1500}")
    say(f"[[text=Two]] {'word ' * 1500}")
    third = say("[[echo_history]] three")
    assert len(compacted(third)) == 1 and stored()[1] == 4
    assert len(given_to_model(third)) == 3


def test_without_a_summary_the_oldest_messages_are_left_out(say):
    say("[[text=One]]")
    say("Two, please.")
    Message.update(content="[[status=400]] refuse").where(Message.position == 0).execute()
    third = say("[[echo_history]] three")
    assert (third.state, stored(), compacted(third)) == ("succeeded", (None, None), [])
    assert [role for role, _ in given_to_model(third)] == ["user", "assistant", "user"]


def test_an_earlier_summary_stays_if_it_cannot_be_extended(say, caplog):
    for message in (FIRST, "Two, please.", "Three, please.", "Four, please."):
        say(message)
    Message.update(content="[[status=400]] refuse").where(Message.position == 4).execute()
    fifth = say("[[echo_history]] five")
    assert stored() == ("It was about herons.", 4) and compacted(fifth) == []
    texts = [text for _, text in given_to_model(fifth)]
    assert texts[0] == f"{SUMMARY}It was about herons." and len(texts) == 5
    assert "context.not_compacted" in [record.message for record in caplog.records]


def test_a_summary_that_failed_is_not_asked_for_again_by_the_next_attempt(
    say, person, ask, stats, provider, monkeypatch
):
    say("[[text=One]]")
    say("[[text=Two]]")
    Message.update(content="[[status=400]] refuse").where(Message.position == 0).execute()
    before, run = stats(provider)["responses"], ask(person("admin"), "[[text=Three]]", "c1")

    def die(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(chat, "store", die)
        with pytest.raises(Killed):
            attempt(run)
    assert attempt(run).state == "succeeded"
    assert stats(provider)["responses"] - before == 3, "one summary and two answers"


@pytest.mark.parametrize("owner", [ChatContext, chat])
def test_a_summary_is_paid_for_once_however_often_the_worker_dies(
    say, person, ask, stats, provider, monkeypatch, owner
):
    say(FIRST)
    say("Two, please.")
    before, me = stats(provider)["responses"], person("admin")
    run = ask(me, "[[text=Three]]", "c1")

    def die(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(owner, "remember" if owner is ChatContext else "store", die)
        for _ in range(2):
            with pytest.raises(Killed):
                attempt(run)
    done = attempt(run)
    answers = 1 if owner is ChatContext else 3  # each attempt that came so far asked for the answer
    assert stats(provider)["responses"] - before == 1 + answers
    assert (done.state, done.usage["requests"], stored()) == ("succeeded", 2, ("It was about herons.", 4))
    assert len(compacted(done)) == 1


def test_a_retried_older_question_does_not_see_a_later_summary(say, person, ask):
    me = person("admin")
    old = ask(me, "Old", "c1")
    with transaction():
        Job.update(state="dead").where(Job.run_id == old.id).execute()
        Run.close(old.id, "failed", "internal_error", "It broke.")
    for message in (FIRST, "Two, please.", "Three, please."):
        say(message)
    assert stored()[1] > 1
    jobs.retry(Job.get(Job.run_id == old.id).id)
    context = ChatContext.begin(old.id, 20, summaries=True)
    assert (context.summary, context.covered, context.history) == (None, 0, [{"role": "user", "content": "Old"}])


def test_without_the_setting_a_kept_summary_is_not_used(say, configure):
    for message in (FIRST, "Two, please.", "Three, please."):
        say(message)
    configure(agent_compaction="trim")
    fourth = say("[[echo_history]] four")
    assert not any(SUMMARY in text for _, text in given_to_model(fourth))
    assert len(given_to_model(fourth)) == 4


def test_a_summary_that_covers_less_does_not_replace_a_later_one(say):
    run = say(FIRST)
    context = ChatContext(run, None, [])
    context.remember("later", 8)
    context.remember("earlier", 4)
    assert stored() == ("later", 8)
    Conversation.get().delete_instance()
    context.remember("gone", 9)
