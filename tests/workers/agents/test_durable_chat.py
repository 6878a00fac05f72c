"""A chat's job that is cut and claimed again: its journal in Postgres, its stream, and what its client is told."""

import json
from dataclasses import replace

import pytest

from models.conversations.conversation import Message, RunEvent
from models.jobs.ledger import Job, LeaseLost
from models.platform.database import database, transaction
from models.platform.redis import redis_client
from models.runs import progress, steps
from models.runs.run import Run
from models.runs.steps import Step
from tests.support.crowd import crowd
from workers import chat, jobs, runtime
from workers.agents import parallel
from workers.agents.catalog import catalog
from workers.agents.journal import RunJournal
from workers.jobs import CHAT_RUN

pytestmark = pytest.mark.usefixtures("provider")


class Killed(BaseException):
    """Stands for the end of a process: nothing of the job is recorded after it."""


@pytest.fixture
def asked(person, ask, configure):
    """asked(message) -> the run of a question."""
    configure(job_lease_seconds=-1, openai_wire="responses")  # a killed worker's job can be claimed again at once
    return lambda message: ask(person(), message)


def attempt(run):
    """One claim of the run's job by a worker. The run as it is then."""
    job = Job.get(Job.run_id == run.id)
    runtime.execute(CHAT_RUN, chat.run_chat, str(job.id))
    return Run.get_by_id(run.id)


def watched(monkeypatch, output="noon", **more):
    """The calls of the clock, from now on."""
    made, tools = [], catalog().tools
    clock = replace(tools["get_current_time"], function=lambda context: made.append(1) or output, **more)
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


def test_a_cut_between_steps_repeats_nothing_and_voids_nothing(asked, stats, provider, monkeypatch):
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


def cut_at(run_agent, label, time=1):
    """The agent loop, killed just before an attempt sends this event for the n-th time."""

    def running(*args, **kwargs):
        turn, times = run_agent(*args, **kwargs), 0
        while True:
            try:
                event = next(turn)
            except StopIteration as end:
                return end.value
            times += event["event"] == label
            if times == time:
                raise Killed
            yield event

    return running


def test_a_cut_inside_a_response_voids_its_text_only(asked, monkeypatch, stats, provider):
    run, before = asked("[[tool=get_current_time deltas=300 delay=3ms]]"), stats(provider)["responses"]

    def checkpoint(lease):
        if any(event["text_delta"] for event in events_of(run)):
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("workers.lease.Lease.checkpoint", checkpoint)
        cut(run)
    texts = [event["sequence_number"] for event in events_of(run) if event["text_delta"]]
    attempt(run)
    assert restarts(run) == [texts[0]]
    assert text_of(run) == answer_of(run) == " ".join(map(str, range(1, 301)))
    assert stats(provider)["responses"] - before == 3, "the first response was not asked for again"


def test_if_the_stream_is_lost_all_text_after_the_last_response_is_void(asked, monkeypatch):
    watched(monkeypatch)
    run = asked("[[tool=get_current_time deltas=3]]")
    with monkeypatch.context() as patch:
        patch.setattr(chat, "run_agent", cut_at(chat.run_agent, "agent_end"))
        cut(run)
    redis_client().delete(progress.stream_key(run.id))
    attempt(run)
    [response, _, _] = steps.load(run.id)
    assert restarts(run) == [response.sequence + 1] and text_of(run) == answer_of(run)


def test_reasoning_is_void_from_its_first_part(asked, monkeypatch):
    run = asked("[[reasoning deltas=5 delay=20ms]] think about it")
    with monkeypatch.context() as patch:
        patch.setattr(chat, "run_agent", cut_at(chat.run_agent, "agent_end"))
        cut(run)
    reasoning = [event["sequence_number"] for event in events_of(run) if event["reasoning_delta"]]
    attempt(run)
    assert restarts(run) == [reasoning[0]] and text_of(run) == answer_of(run)


def test_a_call_that_may_not_be_repeated_and_was_cut_is_not_made_again(asked, monkeypatch):
    made = watched(monkeypatch, repeatable=False)
    run = asked("[[tool=get_current_time]]")
    with monkeypatch.context() as patch:
        patch.setattr(parallel, "run", killed)
        cut(run)
    [_, begun] = steps.load(run.id)
    assert (begun.number, begun.is_finished) == (2, False)
    done = attempt(run)
    assert done.state == "succeeded" and made == [] and restarts(run) == [None]
    [ended] = [event for event in events_of(run) if event["event"] == "tool_end"]
    assert ended["payload"] == {"failed": True, "reason": "cut"}
    assert [step.is_finished for step in steps.load(run.id)] == [True, True, True]


def killed(*arguments):
    raise Killed


def claimed(run, seconds=30):
    return Job.claim(Job.get(Job.run_id == run.id).id, "me", seconds)


def response(number, text="a"):
    return Step(number=number, kind="response", digest="d", output={"text": text})


def call(number, **more):
    return Step(number=number, kind="tool", digest="d", **more)


def test_a_worker_that_was_taken_for_dead_cannot_write_to_the_journal(asked):
    run = asked("hello")
    journal = RunJournal.open(claimed(run, 0))
    journal.save(response(1))
    assert claimed(run).epoch == 2
    with pytest.raises(LeaseLost):
        journal.save(call(2, output={}))
    with pytest.raises(LeaseLost):
        journal.begin(call(2, is_finished=False))
    assert [step.number for step in steps.load(run.id)] == [1]


def test_a_finished_step_is_never_changed_and_one_that_has_begun_is_finished(asked):
    run = asked("hello")
    job = claimed(run)
    steps.save(job, response(1, "first"))
    with pytest.raises(LeaseLost):
        steps.save(job, response(1, "second"))
    with pytest.raises(LeaseLost):
        steps.begin(job, call(1, is_finished=False))
    steps.begin(job, call(2, is_finished=False))
    [first, begun] = steps.load(run.id)
    assert first.output == {"text": "first"} and (begun.is_finished, begun.output) == (False, None)
    steps.save(job, call(2, output={"output": "x"}, seconds=2.5))
    [_, ended] = steps.load(run.id)
    assert ended.is_finished and ended.output == {"output": "x"} and 2.4 < ended.seconds < 3


def test_the_journal_of_a_deleted_run_cannot_be_written(asked):
    run = asked("hello")
    job = claimed(run)
    Run.delete().where(Run.id == run.id).execute()
    with pytest.raises(LeaseLost):
        steps.save(job, response(1))
    with pytest.raises(LeaseLost):
        steps.begin(job, call(1, is_finished=False))


def test_a_hundred_runs_write_at_once_and_only_those_that_may(asked, person, ask):
    me = person()
    runs = [ask(me, f"question {number}") for number in range(100)]
    jobs_of = [claimed(run, 0) for run in runs]
    for run in runs[::10]:
        claimed(run)  # by another worker
    Run.delete().where(Run.id.in_([run.id for run in runs[1::10]])).execute()

    def write(number):
        try:
            for step in (response(1, str(number)), call(2, output={"output": str(number)})):
                steps.save(jobs_of[number], step)
        except LeaseLost:
            return False
        return True

    written = crowd(100, write)
    assert written == [number % 10 > 1 for number in range(100)]
    for number, run in enumerate(runs):
        outputs = [step.output for step in steps.load(run.id)]
        assert outputs == ([{"text": str(number)}, {"output": str(number)}] if number % 10 > 1 else [])


def test_a_job_that_makes_progress_is_not_dead_however_often_its_worker_dies(asked, monkeypatch):
    watched(monkeypatch)
    run = asked("[[loop_tool=get_current_time]]")
    monkeypatch.setattr("workers.agents.loop.DEFAULT_MAX_TURNS", 6)
    for number in range(1, 6):
        with monkeypatch.context() as patch:
            patch.setattr(chat, "run_agent", cut_at(chat.run_agent, "llm_start", 2))
            cut(run)
        assert len(steps.load(run.id)) == 2 * number
    assert attempt(run).error_code == "max_turns_exceeded"


def test_a_job_that_makes_no_progress_is_dead_in_the_end(asked, monkeypatch):
    run = asked("hello")
    monkeypatch.setattr(chat, "run_agent", cut_at(chat.run_agent, "llm_start"))
    for _ in range(4):
        cut(run)
    attempt(run)  # is not claimed any more
    assert Job.get(Job.run_id == run.id).epoch == 4


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
    rows = database.execute_sql(
        "select feature, sum(quantity)::int from usage_entry where source = %s group by feature", (f"run:{run.id}",)
    )
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
