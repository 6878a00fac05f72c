"""Steps that go on from their journal, and steps that wait for a person."""

import pytest

from models.conversations.conversation import RunEvent
from models.jobs.ledger import Job
from models.platform.database import database, transaction
from models.platform.principal import Root
from models.runs import tool_policy, usage
from models.runs.approvals import Approval
from models.runs.run import Run
from models.workflows import runs
from models.workflows.step import WorkflowStep
from tests.support.approvals import decide
from workers import jobs
from workers.workflows import actors
from workers.workflows.declarations import Stage, Step, Workflow

A, B = "data_analyst", "code_assistant"
CLOCK = "[[tool=get_current_time]] [[text=done]]"


@pytest.fixture
def fan(declare):
    """Two branches, of which the first calls a tool; then one more step."""

    def told(value, steps):
        return CLOCK

    branches = (Step("clock", A, input_mapper=told), Step("plain", B))
    stages = (Stage("fan", branches, mode="parallel"), Stage("end", (Step("end", B),)))
    return declare(Workflow("fan", "F", "-", stages=stages))


@pytest.fixture
def ruled(tenant):
    """Calls of the clock need an approval."""
    with transaction():
        tool_policy.set_rule(tenant.id, "get_current_time", "always", by=Root("test"), reason="test")


def states(run):
    return [step.state for step in WorkflowStep.of_run(run.id)]


def test_a_step_that_is_done_again_pays_for_no_finished_response_twice(
    person, run_workflow, do_jobs, fan, stats, provider, monkeypatch, events_of, configure
):
    configure(openai_wire="responses")  # without the request that finds it out
    run = run_workflow(person(), "fan", "[[text=x]]")
    do_jobs(1)
    succeed = actors._succeed

    def die(*_):
        monkeypatch.setattr(actors, "_succeed", succeed)
        raise RuntimeError("cut before the step was stored")

    monkeypatch.setattr(actors, "_succeed", die)
    before = stats(provider)["responses"]
    do_jobs(1)
    assert stats(provider)["responses"] - before == 2
    Job.update(due_at="2020-01-01").where(Job.run_id == run.id).execute()
    do_jobs()
    assert Run.get_by_id(run.id).state == "succeeded"
    assert stats(provider)["responses"] - before == 2 + 1 + 2, "the tool's response came from the journal"
    events = [event for event in events_of(run) if event["step_name"] == "clock"]
    assert [event["run_item_name"] for event in events].count("tool_output") == 1
    assert [event["event"] for event in events].count("restarted") == 1


def test_a_step_waits_for_a_person_while_the_other_branch_goes_on(person, run_workflow, do_jobs, fan, ruled, events_of):
    me = person()
    run = run_workflow(me, "fan", "[[text=x]]")
    do_jobs()
    found = Run.get_by_id(run.id)
    assert (found.state, states(run)) == ("waiting", ["running", "succeeded"])
    asked = [event for event in events_of(run) if event["payload"] and event["payload"].get("approvals")]
    assert [(event["step_name"], event["workflow_run_id"]) for event in asked] == [("clock", str(run.id))]
    [approval] = Approval.of_run(run.id)
    jobs.send([decide(me, approval)])
    do_jobs()
    found = Run.get_by_id(run.id)
    assert (found.state, states(run)) == ("succeeded", ["succeeded"] * 3)
    events = events_of(run)
    numbers = [event["sequence_number"] for event in events]
    assert numbers == sorted(set(numbers)) and [event["is_terminal"] for event in events].count(True) == 1
    assert asked[0] in events


def test_a_step_that_begins_while_another_one_waits_is_done(person, run_workflow, do_jobs, fan, ruled):
    run = run_workflow(person(), "fan", "[[text=x]]")
    do_jobs(2)
    assert (Run.get_by_id(run.id).state, states(run)) == ("waiting", ["running", "pending"])
    do_jobs(1)
    assert (Run.get_by_id(run.id).state, states(run)) == ("waiting", ["running", "succeeded"])


def test_a_workflow_that_waits_is_cancelled_at_once_and_can_be_retried(
    person, run_workflow, do_jobs, fan, ruled, events_of
):
    me = person()
    run = run_workflow(me, "fan", "[[text=x]]")
    do_jobs()
    runs.cancel(me, run.id)
    ended = Run.get_by_id(run.id)
    assert (ended.state, [approval.state for approval in Approval.of_run(run.id)]) == ("cancelled", ["cancelled"])
    events = events_of(run)
    assert events[-1]["is_terminal"] and events[-1]["sequence_number"] == ended.terminal_sequence
    with transaction():
        _, stopped = runs.reopen(me, run.id)
        jobs.requeue(stopped)
    do_jobs()
    assert Run.get_by_id(run.id).state == "waiting"
    assert events_of(run)[0]["sequence_number"] > ended.terminal_sequence


def test_a_tool_searches_the_conversations_of_the_caller(person, run_workflow, do_jobs, declare, ask):
    me, other = person(), person()
    ask(me, "a violet tractor", "mine")
    ask(other, "a violet tractor", "theirs")

    def told(value, steps):
        return '[[tool=search_conversations {"query": "violet tractor"}]]'

    declare(Workflow("search", "S", "-", steps=(Step("search", A, input_mapper=told),)))
    Job.update(state="cancelled").execute()
    run = run_workflow(me, "search", "hello")
    do_jobs()
    [result] = RunEvent.select().where((RunEvent.run_id == run.id) & (RunEvent.type == "tool_result"))
    assert "mine" in str(result.call_output) and "theirs" not in str(result.call_output)


def test_what_a_step_has_used_that_is_stopped_is_counted_once(person, run_workflow, do_jobs, fan, ruled):
    me = person()
    run = run_workflow(me, "fan", "[[text=x]]")
    for number in (2, 1):  # the second time, there is nothing to advance
        do_jobs(number)
        assert Run.get_by_id(run.id).state == "waiting"
        runs.cancel(me, run.id)
        assert counted(run) == {name: usage.journaled(run.id)["0"][name] for name in ("input_tokens", "output_tokens")}
        with transaction():
            _, stopped = runs.reopen(me, run.id)
            jobs.requeue(stopped)


def counted(run):
    statement = "select feature, sum(quantity)::int from usage_entry where tenant_id = %s group by feature"
    return dict(database.execute_sql(statement, (run.tenant_id,)).fetchall())
