"""A chat's job that is cut and claimed again: its journal in Postgres, its stream, and what its client is told."""

import json
from dataclasses import replace

import pytest

from models.conversations.conversation import Message, RunEvent
from models.jobs.ledger import Job, LeaseLost
from models.platform.database import database, transaction
from models.runs import progress, steps
from models.runs.run import Run
from models.runs.steps import Step
from workers import chat, jobs, runtime
from workers.agents.catalog import catalog
from workers.agents.journal import RunJournal
from workers.jobs import CHAT_RUN

pytestmark = pytest.mark.usefixtures("provider")


class Killed(BaseException):
    """Stands for the end of a process: nothing of the job is recorded after it."""


@pytest.fixture
def asked(person, ask, configure):
    """asked(message) -> the run of a question."""
    configure(job_lease_seconds=0.01, openai_wire="responses")  # a killed worker's job can be claimed again at once
    return lambda message: ask(person(), message)


def attempt(run):
    """One claim of the run's job by a worker. The run as it is then."""
    job = Job.get(Job.run_id == run.id)
    runtime.execute(CHAT_RUN, chat.run_chat, str(job.id))
    return Run.get_by_id(run.id)


@pytest.fixture
def killed(monkeypatch):
    """killed(module, name, after=1): the process ends when that function is called for the n-th time, before it does anything."""

    def arrange(owner, name, after=1):
        real, calls = getattr(owner, name), []

        def function(*args, **kwargs):
            calls.append(1)
            if len(calls) == after:
                raise Killed
            return real(*args, **kwargs)

        monkeypatch.setattr(owner, name, function)

    return arrange


def watched(monkeypatch, output="noon"):
    """The calls of the clock, from now on."""
    made, tools = [], catalog().tools
    clock = replace(tools["get_current_time"], function=lambda context: made.append(1) or output)
    monkeypatch.setitem(tools, "get_current_time", clock)
    return made


def cut(run):
    with pytest.raises(Killed):
        attempt(run)


def events_of(run):
    return [json.loads(entry.data) for entry in progress.read(run.id, count=5000)]


def restarts(run):
    return [event["payload"]["void_from"] for event in events_of(run) if event["event"] == "restarted"]


def text_of(run):
    """What a client has that drops what is void."""
    texts = {}
    for event in events_of(run):
        if event["event"] == "restarted" and event["payload"]["void_from"] is not None:
            texts = {n: text for n, text in texts.items() if n < event["payload"]["void_from"]}
        texts[event["sequence_number"]] = event["text_delta"] or ""
    return "".join(texts.values())


def answer_of(run):
    return Message.get((Message.run_id == run.id) & (Message.role == "assistant")).content


def test_a_plain_chat_is_one_step_that_is_stored_with_its_answer(asked):
    run = attempt(asked("[[text=Good morning]]"))
    [step] = steps.load(run.id)
    assert (step.number, step.kind, step.is_finished, step.usage["output_tokens"]) == (1, "response", True, 2)
    assert step.output["output"][0]["content"][0]["text"] == "Good morning" and step.sequence < run.terminal_sequence


def test_a_cut_between_steps_repeats_nothing_and_voids_nothing(asked, killed, stats, provider, monkeypatch):
    made = watched(monkeypatch)
    run, before = asked("[[tool=get_current_time]]"), stats(provider)["responses"]
    with monkeypatch.context() as patch:
        patch.setattr(chat, "run_agent", cut_at(chat.run_agent, "tool_end"))
        cut(run)
    done = attempt(run)
    assert done.state == "succeeded" and len(made) == 1 and stats(provider)["responses"] - before == 2
    assert restarts(run) == [None] and text_of(run) == answer_of(run)
    names = [event["run_item_name"] or event["event"] for event in events_of(run) if event["tool_name"]]
    assert names == ["tool_called", "tool_start", "tool_end", "tool_output"]
    assert done.usage["requests"] == 2
    assert [event.type for event in RunEvent.select().order_by(RunEvent.sequence)] == [
        "user_message",
        "tool_call",
        "tool_result",
        "assistant_message",
    ]


def cut_at(run_agent, label):
    """The agent loop, killed just before this event is sent."""

    def running(*args, **kwargs):
        turn = run_agent(*args, **kwargs)
        while True:
            try:
                event = next(turn)
            except StopIteration as end:
                return end.value
            if event["event"] == label:
                raise Killed
            yield event

    return running


def test_a_cut_inside_a_response_voids_its_text_only(asked, monkeypatch, stats, provider):
    run, before = asked("[[tool=get_current_time deltas=300]]"), stats(provider)["responses"]
    seen = []

    def checkpoint(lease):
        seen.append(1)
        if len(seen) == 200:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("workers.lease.Lease.checkpoint", checkpoint)
        cut(run)
    texts = [event["sequence_number"] for event in events_of(run) if event["text_delta"]]
    attempt(run)
    assert restarts(run) == [texts[0]] and len(texts) > 50
    assert text_of(run) == answer_of(run) == " ".join(map(str, range(1, 301)))
    assert stats(provider)["responses"] - before == 3, "the first response was not asked for again"


def test_a_worker_that_was_taken_for_dead_cannot_write_to_the_journal(asked):
    run = asked("hello")
    job = Job.get(Job.run_id == run.id)
    zombie = Job.claim(job.id, "zombie", 0)
    journal = RunJournal.open(zombie)
    journal.save(Step(number=1, kind="response", digest="a", output={}))
    assert Job.claim(job.id, "heir", 30).epoch == 2
    with pytest.raises(LeaseLost):
        journal.save(Step(number=2, kind="tool", digest="b", output={}))
    assert [step.number for step in steps.load(run.id)] == [1]


def test_the_journal_of_a_deleted_run_cannot_be_written(asked):
    run = asked("hello")
    job = Job.claim(Job.get(Job.run_id == run.id).id, "me", 30)
    Run.delete().where(Run.id == run.id).execute()
    with pytest.raises(LeaseLost):
        steps.save(job, Step(number=1, kind="response", output={}))


def test_an_operators_retry_goes_on_from_the_journal(asked, stats, provider, monkeypatch):
    made = watched(monkeypatch)
    run = asked("[[tool=get_current_time]]")
    monkeypatch.setattr("workers.agents.loop.DEFAULT_MAX_TURNS", 1)
    assert attempt(run).error_code == "max_turns_exceeded"
    monkeypatch.setattr("workers.agents.loop.DEFAULT_MAX_TURNS", 10)
    before = stats(provider)["responses"]
    jobs.retry(Job.get(Job.run_id == run.id).id)
    done = attempt(run)
    assert (done.state, len(made), stats(provider)["responses"] - before) == ("succeeded", 1, 1)
    assert done.usage["requests"] == 2


def test_old_steps_are_deleted(asked):
    run = attempt(asked("[[text=hi]]"))
    assert steps.purge(1) == 0
    database.execute_sql("update run_step set started_at = now() - interval '2 days'")
    assert steps.purge(1) == 1 and steps.load(run.id) == []


@pytest.mark.parametrize(
    "output", ["a\0b", "\ud800", '{"a": "\\u0000\\ud800"}', "[" * 5000, '{"a":' * 100 + "1" + "}" * 100]
)
def test_whatever_a_tool_returns_can_be_journaled_sent_and_recorded(asked, monkeypatch, output):
    watched(monkeypatch, output)
    assert attempt(asked("[[tool=get_current_time]]")).state == "succeeded"


def used_by(run):
    rows = database.execute_sql("select feature, quantity from usage_record where run_id = %s", (run.id,))
    return dict(rows.fetchall())


def test_what_a_run_has_used_is_counted_in_the_transaction_that_ends_it(asked):
    run = attempt(asked("[[text=Good morning]]"))
    assert used_by(run) == {"messages": 1, **{name: run.usage[name] for name in ("input_tokens", "output_tokens")}}


def test_a_failed_run_counts_its_tokens_and_its_retry_counts_them_once(asked, monkeypatch):
    run = asked("[[tool=get_current_time]]")
    monkeypatch.setattr("workers.agents.loop.DEFAULT_MAX_TURNS", 1)
    failed = used_by(attempt(run))
    assert failed["output_tokens"] > 0 and "messages" not in failed
    monkeypatch.setattr("workers.agents.loop.DEFAULT_MAX_TURNS", 10)
    jobs.retry(Job.get(Job.run_id == run.id).id)
    done = attempt(run)
    assert used_by(run) == {"messages": 1, **{name: done.usage[name] for name in ("input_tokens", "output_tokens")}}


def test_a_cancelled_run_counts_the_responses_that_were_finished(asked, monkeypatch):
    run = asked("[[tool=get_current_time]]")
    with monkeypatch.context() as patch:
        patch.setattr(chat, "run_agent", cut_at(chat.run_agent, "tool_end"))
        cut(run)
    with transaction():
        closed = Run.close(run.id, "cancelled", "cancelled", "Stop.")
    assert used_by(run)["output_tokens"] == closed.usage["output_tokens"] > 0
