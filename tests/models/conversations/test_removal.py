"""Deleting a conversation: what is left, and what happens if it is asked in or answered at the same moment."""

import itertools

import pytest

from models.conversations.asking import ConversationBusy
from models.conversations.conversation import Conversation, ConversationNotFound, Message, RunEvent
from models.jobs.ledger import Job
from models.platform.redis import redis_client
from models.runs import progress
from models.runs.run import Run
from tests.models.conversations.test_conversations import answer, claim
from tests.support.crowd import crowd


def test_an_answer_and_a_deletion_at_the_same_moment_do_not_wait_for_each_other_for_ever(person, ask):
    me, pairs = person("admin"), 12
    for round_ in range(5):
        runs = [ask(me, "Hello", f"c{round_}-{n}") for n in range(pairs)]
        claims = [claim(run) for run in runs]

        def act(number, runs=runs, claims=claims):
            run = runs[number % pairs]
            if number < pairs:
                answer(run, job=claims[number])
            else:
                Conversation.remove(me, run.conversation_key)

        crowd(2 * pairs, act)  # raises what any of them raised, a deadlock too
    assert (Conversation.select().count(), Message.select().count(), RunEvent.select().count()) == (0, 0, 0)
    assert Run.select().count() == 0
    assert Job.select().where(Job.state == "running").count() == 0


def test_questions_and_deletions_of_one_conversation_leave_all_of_it_or_nothing(person, ask):
    me, numbers = person("admin"), itertools.count()

    def act(number):
        for _ in range(5):
            try:
                if number % 2:
                    Conversation.remove(me, "c1")
                else:
                    answer(ask(me, f"Hello {next(numbers)}", "c1"))
            except (ConversationNotFound, ConversationBusy):
                pass

    crowd(8, act)
    left = Conversation.get_or_none()
    assert Message.select().count() == (left.message_count if left else 0)
    assert Run.select().where(Run.state.in_(("queued", "running"))).count() == 0


def test_a_deletion_repeated_by_many_happens_once_and_is_not_found_by_the_others(person, ask):
    me = person("admin")
    ask(me, "Hello", "c1")

    def act(_):
        try:
            Conversation.remove(me, "c1")
        except ConversationNotFound:
            return "not found"
        return "deleted"

    assert sorted(crowd(10, act)) == ["deleted", *["not found"] * 9]


def test_the_streams_of_deleted_runs_are_gone_at_once_or_within_a_minute(person, ask):
    me = person("admin")
    for key in ("done", "active"):
        run = ask(me, "Hello", key)
        job = claim(run)
        progress.append(run.id, [(1, "lifecycle", b"{}")]).wait()
        if key == "done":
            answer(run, job=job)
        Conversation.remove(me, key)
        seconds = redis_client().ttl(progress.stream_key(run.id))
        assert seconds == -2 if key == "done" else 0 < seconds <= 60
    assert [entry.terminal for entry in progress.read(run.id)] == [False, True]


@pytest.mark.parametrize("state", ["queued", "running"])
def test_the_work_of_a_deleted_conversation_is_cancelled(person, ask, state):
    me = person("admin")
    run = ask(me, "Hello", "c1")
    if state == "running":
        claim(run)
    Conversation.remove(me, "c1")
    job = Job.get(Job.run_id == run.id)
    assert (job.state, job.cancel_requested) == ("cancelled" if state == "queued" else "running", True)
