"""A workflow run from its question to its answer."""

import json
import re
from pathlib import Path

import pytest

from models.conversations.conversation import Conversation, Message, RunEvent
from models.jobs.ledger import Job
from models.runs.run import Run
from models.workflows.step import WorkflowStep
from workers.workflows.declarations import Stage, Step, Workflow

A, B = "data_analyst", "code_assistant"
BOUNDARIES = ("stage_start", "stage_end", "step_start", "step_end", "step_skipped")


def states(run):
    return [(step.name, step.state) for step in WorkflowStep.of_run(run.id)]


def boundaries(events):
    return [
        (event["event"], event["step_name"] or event["stage_name"]) for event in events if event["event"] in BOUNDARIES
    ]


def test_the_bundled_sequence_passes_the_text_of_each_step_to_the_next(person, run_workflow, do_jobs, events_of):
    run = run_workflow(person(), "analysis_code", "[[text=forty-two]] What is it?")
    assert do_jobs() == 3
    run = Run.get_by_id(run.id)
    analysis, code = WorkflowStep.of_run(run.id)
    assert (run.state, analysis.output_text, code.input) == ("succeeded", "forty-two", "forty-two")
    assert run.result == {"text": code.output_text, "structured": None, "agent_used": B}
    assert run.usage["output_tokens"] == analysis.usage["output_tokens"] + code.usage["output_tokens"] > 0
    events = events_of(run)
    assert boundaries(events) == [
        ("stage_start", "stage-1"),
        ("step_start", "analysis"),
        ("step_end", "analysis"),
        ("step_start", "code"),
        ("step_end", "code"),
        ("stage_end", "stage-1"),
    ]
    numbers = [event["sequence_number"] for event in events]
    assert numbers == sorted(set(numbers))
    assert [event["is_terminal"] for event in events] == [False] * (len(events) - 1) + [True]
    last = events[-1]
    assert (last["response_text"], last["workflow_key"]) == (code.output_text, "analysis_code")
    assert {event["workflow_run_id"] for event in events} == {str(run.id)}


def test_the_answer_is_in_the_conversation_once_and_events_name_the_run(person, run_workflow, do_jobs):
    run = run_workflow(person(), "analysis_parallel", "[[text=x]] Hello", "c1")
    do_jobs()
    conversation = Conversation.get(Conversation.key == "c1")
    messages = [(row.role, row.agent, row.content) for row in Message.select().order_by(Message.position)]
    result = Run.get_by_id(run.id).result
    assert messages == [("user", None, "[[text=x]] Hello"), ("assistant", B, result["text"])]
    assert (conversation.entry_agent, conversation.active_agent) == ("analysis_parallel", B)
    rows = list(RunEvent.select().where(RunEvent.workflow_run_id == str(run.id)).order_by(RunEvent.sequence))
    assert [row.sequence for row in rows] == list(range(len(rows))) and conversation.event_count == len(rows)
    assert [row.type for row in rows].count("user_message") == 1
    assert [row.type for row in rows].count("assistant_message") == 3
    assert RunEvent.select().count() == len(rows) and Message.select().count() == 2


def test_branches_get_the_same_input_and_their_outputs_are_reduced_in_order(person, run_workflow, do_jobs, events_of):
    run = run_workflow(person(), "analysis_parallel", "[[text=same]] Hello")
    do_jobs()
    analysis, code, synthesis = WorkflowStep.of_run(run.id)
    assert analysis.input == code.input == "[[text=same]] Hello"
    assert synthesis.input == "same\n\n---\n\nsame"
    places = [(step.branch, step.stage_name) for step in (analysis, code, synthesis)]
    assert places == [(0, "fanout"), (1, "fanout"), (None, "synthesis")]
    events = events_of(run)
    assert [place for place in boundaries(events) if place[0].startswith("stage")] == [
        ("stage_start", "fanout"),
        ("stage_end", "fanout"),
        ("stage_start", "synthesis"),
        ("stage_end", "synthesis"),
    ]
    texts = [event for event in events if event["text_delta"] and event["stage_name"] == "fanout"]
    assert {(event["parallel_group"], event["branch_index"], event["step_agent"]) for event in texts} == {
        ("fanout", 0, A),
        ("fanout", 1, B),
    }


def test_a_guard_skips_its_step_and_the_input_passes_on(person, run_workflow, do_jobs, declare, events_of):
    seen = []

    def never(value, steps):
        seen.append((value, [step.name for step in steps]))
        return False

    declare(Workflow("guarded", "G", "-", steps=(Step("one", A), Step("two", B, guard=never), Step("three", B))))
    run = run_workflow(person(), "guarded", "[[text=out]] Hi")
    do_jobs()
    assert states(run) == [("one", "succeeded"), ("two", "skipped"), ("three", "succeeded")]
    assert seen == [("out", ["one"])]
    assert WorkflowStep.of_run(run.id)[2].input == "out"
    events = boundaries(events_of(run))
    assert events.count(("step_skipped", "two")) == 1
    order = [events.index(place) for place in (("step_end", "one"), ("step_skipped", "two"), ("step_start", "three"))]
    assert order == sorted(order)


def test_a_run_whose_guards_are_all_false_succeeds_without_output(person, run_workflow, do_jobs, declare, events_of):
    def never(value, steps):
        return False

    fan = Stage("first", (Step("a", A, guard=never), Step("b", A, guard=never)), mode="parallel")
    declare(Workflow("nothing", "N", "-", stages=(fan, Stage("last", (Step("c", A, guard=never),)))))
    run = run_workflow(person(), "nothing")
    assert do_jobs() == 1
    run = Run.get_by_id(run.id)
    assert (run.state, run.result) == ("succeeded", {"text": None, "structured": None, "agent_used": None})
    assert Message.select().count() == 1, "there is no answer to store"
    assert [label for label, _ in boundaries(events_of(run))] == [
        "stage_start", "step_skipped", "step_skipped", "stage_end", "stage_start", "step_skipped", "stage_end",
    ]  # fmt: skip


@pytest.mark.parametrize("broken", ["reducer", "guard", "input_mapper"])
def test_a_function_that_fails_fails_the_run_and_its_text_stays_in_the_log(
    person, run_workflow, do_jobs, declare, events_of, broken
):
    def fail(*_):
        raise RuntimeError("secret")

    branches, more = (Step("a", A), Step("b", B)), {} if broken == "reducer" else {broken: fail}
    fan = Stage("fan", branches, mode="parallel", reducer=fail if broken == "reducer" else None)
    declare(Workflow("broken", "B", "-", stages=(fan, Stage("last", (Step("c", A, **more),)))))
    run = run_workflow(person(), "broken", "[[text=x]] Hi", "c1")
    do_jobs()
    run = Run.get_by_id(run.id)
    assert (run.state, run.error_code) == ("failed", f"{broken}_failed") and "secret" not in run.error_message
    assert states(run) == [("a", "succeeded"), ("b", "succeeded")], "what was done is kept"
    last = events_of(run)[-1]
    assert (last["kind"], last["is_terminal"], last["payload"]["code"]) == ("error", True, f"{broken}_failed")
    assert run.usage["requests"] == 2


def test_a_value_that_is_no_json_is_a_failed_function(person, run_workflow, do_jobs, declare):
    declare(Workflow("odd", "O", "-", steps=(Step("a", A, input_mapper=lambda value, steps: object()),)))
    run = run_workflow(person(), "odd")
    do_jobs()
    assert Run.get_by_id(run.id).error_code == "input_mapper_failed"


def test_outputs_that_do_not_fit_their_schema_fail_the_run(person, run_workflow, do_jobs, declare):
    number = {"type": "integer"}
    declare(
        Workflow("step", "S", "-", steps=(Step("a", A, output_schema=number),)),
        Workflow("whole", "W", "-", steps=(Step("a", A),), output_schema=number),
    )
    me = person()
    for key, expected in (("step", [("a", "failed")]), ("whole", [("a", "succeeded")])):
        run = run_workflow(me, key, "[[text=x]] Hi")
        do_jobs()
        run = Run.get_by_id(run.id)
        assert (run.state, run.error_code) == ("failed", "output_invalid")
        assert states(run) == expected
        assert run.usage["output_tokens"] > 0, "a step that failed is paid for as well"


def test_a_provider_that_fails_fails_the_step_and_stops_the_branches(person, run_workflow, do_jobs, declare, events_of):
    def broken(value, steps):
        return "[[status=400]] no"

    branches = (Step("a", A, input_mapper=broken), Step("b", B), Step("c", B))
    declare(Workflow("fan", "F", "-", stages=(Stage("fan", branches, mode="parallel"),)))
    run = run_workflow(person(), "fan", "[[text=x]] Hi")
    assert do_jobs(2) == 2
    run = Run.get_by_id(run.id)
    assert (run.state, run.error_code) == ("failed", "provider_bad_request")
    assert run.error_message.startswith("Step a: ")
    assert [step.shown_state(run) for step in WorkflowStep.of_run(run.id)] == ["failed", "cancelled", "cancelled"]
    jobs = Job.select().where(Job.name == "workflow.step").order_by(Job.id)
    assert [job.state for job in jobs] == ["dead", "cancelled", "cancelled"]
    assert do_jobs() == 0
    assert [event["is_terminal"] for event in events_of(run)].count(True) == 1


def test_a_workflow_that_a_deploy_removes_or_changes_fails_its_active_runs(person, run_workflow, do_jobs, declare):
    me, old = person(), Workflow("old", "O", "-", steps=(Step("a", A), Step("b", A)))
    for changed, code in (("gone", "workflow_gone"), ("old", "workflow_changed")):
        declare(old)
        run = run_workflow(me, "old", "[[text=x]] Hi")
        do_jobs(1)  # its first step is queued
        declare(Workflow(changed, "C", "-", steps=(Step("z", A), Step("b", A))))
        do_jobs()
        assert Run.get_by_id(run.id).error_code == code


def test_a_step_sees_the_conversation_and_then_what_it_is_told(person, run_workflow, do_jobs, declare):
    def told(value, steps):
        return "[[echo_history]] told"

    declare(Workflow("told", "T", "-", steps=(Step("a", A, input_mapper=told),)))
    me = person()
    run_workflow(me, "told", "first", "c1")
    do_jobs()
    run = run_workflow(me, "told", "second", "c1")
    do_jobs()
    text = Run.get_by_id(run.id).result["text"]
    assert text.index('"first"') < text.index('"second"') < text.rindex("told")


def test_the_example_of_the_page_runs(person, run_workflow, do_jobs, configure, tmp_path):
    page = (Path(__file__).parents[3] / "docs" / "workflows.md").read_text()
    name, code = re.search(r"```python\n# /srv/catalogue/workflows/(\w+)\.py\n(.*?)```", page, re.DOTALL).groups()
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows" / f"{name}.py").write_text(code)
    configure(agents_path=str(tmp_path))
    run = run_workflow(person(), name, "A short text")
    do_jobs()
    run = Run.get_by_id(run.id)
    assert states(run) == [("language", "succeeded"), ("figures", "skipped"), ("verdict", "succeeded")]
    assert set(run.result["structured"]) == {"verdict", "reason"}
    assert json.loads(run.result["text"]) == run.result["structured"] == WorkflowStep.of_run(run.id)[2].output
    assert run.terminal["response_text"] == run.result["text"]
    answer = Message.get(Message.role == "assistant")
    assert json.loads(answer.content) == run.result["structured"]


def test_characters_that_postgres_cannot_store_are_replaced(person, run_workflow, do_jobs, declare):
    def odd(value, steps):
        return "[[text=a\u0000b]]"

    declare(Workflow("odd", "O", "-", steps=(Step("a", A, input_mapper=odd), Step("b", A))))
    run = run_workflow(person(), "odd")
    do_jobs()
    assert Run.get_by_id(run.id).state == "succeeded"
    assert "\ufffd" in WorkflowStep.of_run(run.id)[0].input
