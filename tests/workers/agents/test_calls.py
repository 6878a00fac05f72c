"""Calls of tools: failures that are answers, time limits, cuts in the middle, and decisions of people."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.models import collect, request
from workers.agents import outcomes
from workers.agents.approvals import ApprovalRequest, Decision, WaitsForApproval
from workers.agents.catalog import Agent, Catalog, Tool
from workers.agents.functions import ToolFailed, tool
from workers.agents.journal import Journal
from workers.agents.loop import run_agent

pytestmark = pytest.mark.usefixtures("provider")
TEXT = {
    "type": "object",
    "properties": {"text": {"type": "string"}},
    "required": ["text"],
    "additionalProperties": False,
}
NOW = datetime.now(UTC)
APPROVED = Decision("approved", decided_at=NOW + timedelta(days=1))


@pytest.fixture
def made():
    """The texts that the tool `note` was called with."""
    return []


def note(made, **more):
    def note(context, text: str) -> str:
        """Notes a text."""
        made.append(text)
        return f"noted {text}"

    return tool("utility", **more)(note)


def agents(*declared):
    agent = Agent("helper", "Helper", "d", "You help.", tools=tuple(tool.name for tool in declared))
    return Catalog([agent], {tool.name: tool for tool in declared})


def start(message, catalog, journal=None, **decisions):
    more = {"decisions": {("", int(number[1:])): decision for number, decision in decisions.items()}}
    return collect(run_agent(request(message, "helper", **more), agents=catalog, journal=journal))


def waits(message, catalog, journal=None, **decisions):
    """(events, requests) of an attempt that has to wait."""
    with pytest.raises(WaitsForApproval) as waiting:
        start(message, catalog, journal, **decisions)
    return waiting.value.events, waiting.value.requests


def outputs(result):
    return [item["call_output"]["value"] for item in result.items if item["type"] == "tool_result"]


def ends(events):
    return [(event["tool_name"], event["payload"]) for event in events if event["event"] == "tool_end"]


def failed(context):
    raise ToolFailed("The shop is closed.")


def failed_at_length(context):
    raise ToolFailed("\0\ud800" + "x" * 200_000)


@pytest.mark.parametrize(
    ("does", "reason", "output"),
    [
        (failed, "failed", "Error: The shop is closed."),
        (failed_at_length, "failed", "Error: \ufffd\ufffdxx"),
        (lambda context: 1 / 0, "failed", "Error: shop failed."),
        (lambda context: threading.Event().wait(20), "timeout", "Error: shop was stopped after 0.2 s."),
        (lambda context: "x" * 100_001, "too_long", "x" * 50),
    ],
)
def test_a_call_that_fails_is_an_answer_to_the_model_and_seen_by_clients(does, reason, output):
    events, result = start("[[tool=shop]]", agents(Tool("shop", "utility", "d", function=does, seconds=0.2)))
    assert ends(events) == [("shop", {"failed": True, "reason": reason})]
    [seen] = outputs(result)
    assert seen.startswith(output) and len(seen) < outcomes.MAX_CHARACTERS + 100
    assert result.response_text


def test_calls_without_a_tool_or_with_wrong_arguments_are_answers_too(made):
    events, result = start('[[tool=nothing tool=note {"txt": "a"}]]', agents(note(made)))
    assert [payload["reason"] for _, payload in ends(events)] == ["unknown", "arguments"]
    assert made == [] and all("Error" in output for output in outputs(result))


def test_arguments_that_cannot_be_stored_are_replaced_and_those_that_are_nested_too_deeply_refused():
    shop = Tool("shop", "utility", "d")
    assert outcomes.read_arguments(shop, '{"\\ud800": "a\\u0000"}') == {"\ufffd": "a\ufffd"}
    assert outcomes.read_arguments(shop, '{"a":' * 50 + "1" + "}" * 50)
    assert outcomes.read_arguments(shop, '{"a":' * 300 + "1" + "}" * 300).failed == "arguments"


def test_a_tool_that_returns_no_text_has_failed():
    events, _ = start("[[tool=shop]]", agents(Tool("shop", "utility", "d", function=lambda context: None)))
    assert ends(events) == [("shop", {"failed": True, "reason": "failed"})]


def test_the_calls_of_a_response_run_at_once_and_the_model_gets_them_in_its_order():
    barrier, last = threading.Barrier(2), threading.Event()
    slow = Tool("slow", "utility", "d", function=lambda context: (barrier.wait(20), last.wait(20), "slow")[-1])
    fast = Tool("fast", "utility", "d", function=lambda context: (barrier.wait(20), "fast")[-1])
    catalog = agents(slow, fast)
    events, running = [], run_agent(request("[[tool=slow tool=fast]]", "helper"), agents=catalog)
    while True:
        try:
            events.append(next(running))
        except StopIteration as end:
            result = end.value
            break
        if ends(events):
            last.set()
    of_tools = [
        (event["run_item_name"] or event["event"], event["tool_name"]) for event in events if event["tool_name"]
    ]
    calls = [("tool_called", "slow"), ("tool_start", "slow"), ("tool_called", "fast"), ("tool_start", "fast")]
    assert of_tools[:4] == calls
    assert of_tools[4:] == [
        ("tool_end", "fast"),
        ("tool_output", "fast"),
        ("tool_end", "slow"),
        ("tool_output", "slow"),
    ]
    assert outputs(result) == ["slow", "fast"]


def test_each_call_has_an_idempotency_key_of_its_own_that_the_next_attempt_repeats():
    keys, journal = [], Journal()
    one = Tool("one", "utility", "d", function=lambda context: keys.append(context.idempotency_key) or "done")
    start("[[tool=one tool=one]]", agents(one), journal)
    assert len(set(keys)) == 2
    again = Journal([step for step in journal.steps.values() if step.kind == "response"], run_id=journal.run_id)
    start("[[tool=one tool=one]]", agents(one), again)
    assert sorted(keys[2:]) == sorted(keys[:2])


# ------------------------------------------------------------- calls that were cut


def cut_journal(message, catalog, began_at=NOW):
    """The journal of a run whose first call has begun, and whose end nobody knows."""
    whole = Journal()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "begin", remember_begun(began_at))
        start(message, catalog, whole)
    steps = [step for step in whole.steps.values() if step.number == 1]
    return Journal([*steps, whole.begun], run_id=whole.run_id)


def remember_begun(began_at):
    def begin(journal, step):
        journal.begun = replace(step, began_at=began_at)

    return begin


CUT = '[[tool=note {"text": "a"}]]'


def test_a_cut_call_that_may_be_repeated_is_made_again(made):
    whole = Journal()
    start(CUT, agents(note(made)), whole)
    assert all(step.is_finished for step in whole.steps.values())
    start(CUT, agents(note(made)), Journal([whole.steps["", 1]]))
    assert made == ["a", "a"]


def test_the_model_is_told_of_a_cut_call_that_may_not_be_repeated(made):
    catalog = agents(note(made, repeatable=False))
    journal = cut_journal(CUT, catalog)
    assert made == ["a"]
    events, result = start(CUT, catalog, journal)
    assert made == ["a"] and ends(events) == [("note", {"failed": True, "reason": "cut"})]
    assert "not known whether it took effect" in outputs(result)[0]
    assert journal.steps["", 2].is_finished and journal.steps["", 2].output["failed"] == "cut"


def test_a_person_decides_about_a_cut_call_that_says_so(made):
    catalog = agents(note(made, repeatable=False, when_cut="person"))
    _, [asked] = waits(CUT, catalog, cut_journal(CUT, catalog))
    assert (asked.number, asked.reason, asked.arguments, made) == (2, "cut", {"text": "a"}, ["a"])
    start(CUT, catalog, cut_journal(CUT, catalog), n2=APPROVED)
    assert made == ["a", "a", "a"]  # the second one was made for its journal
    _, result = start(
        CUT, catalog, cut_journal(CUT, catalog), n2=Decision("denied", decided_at=NOW + timedelta(days=1))
    )
    assert "did not allow" in outputs(result)[0]


def test_the_approval_of_a_call_does_not_say_what_to_do_when_it_was_cut(made):
    catalog = agents(note(made, repeatable=False, when_cut="person", approval=True))
    journal = cut_journal_of_approved(catalog)
    before = Decision("approved", decided_at=NOW - timedelta(seconds=1))
    _, [asked] = waits(CUT, catalog, journal, n2=before)
    assert asked.reason == "cut" and made == ["a"]


def cut_journal_of_approved(catalog):
    whole = Journal()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "begin", remember_begun(NOW))
        start(CUT, catalog, whole, n2=APPROVED)
    return Journal([whole.steps["", 1], whole.begun], run_id=whole.run_id)


# ------------------------------------------------------------- approval


def test_a_call_waits_for_its_approval_and_the_others_are_made_and_journaled(made):
    free = Tool("free", "utility", "d", function=lambda context: made.append("free") or "done")
    catalog, journal = agents(note(made, approval=True), free), Journal()
    message = '[[tool=note {"text": "a"} tool=free]]'
    events, requests = waits(message, catalog, journal)
    assert requests == [ApprovalRequest(2, requests[0].call_id, "note", {"text": "a"}, "tool", "", TEXT)]
    assert made == ["free"] and sorted(journal.steps) == [("", 1), ("", 3)]
    again = Journal(journal.steps.values(), events, run_id=journal.run_id)
    _, result = start(message, catalog, again, n2=APPROVED)
    assert made == ["free", "a"] and outputs(result) == ["noted a", "done"]


def test_a_person_may_edit_the_arguments(made):
    edited = Decision("approved", {"text": "b"}, decided_at=NOW)
    _, result = start(CUT, agents(note(made, approval=True)), n2=edited)
    assert made == ["b"] and outputs(result) == ["noted b"]
    _, result = start(CUT, agents(note(made, approval=True)), n2=Decision("approved", {"txt": 5}))
    assert made == ["b"] and "do not fit" in outputs(result)[0]


def test_the_model_is_told_why_a_call_was_not_allowed(made):
    denied = Decision("denied", reason="Too expensive.")
    events, result = start(CUT, agents(note(made, approval=True)), n2=denied)
    assert outputs(result) == ["Error: a person did not allow this call of note. The reason: Too expensive."]
    assert made == [] and ends(events) == [("note", {"failed": True, "reason": "denied"})]
    events, result = start(CUT, agents(note(made, approval=True)), n2=Decision("expired"))
    assert "nobody decided in time" in outputs(result)[0] and ends(events)[0][1]["reason"] == "expired"


def broken(arguments):
    raise KeyError("rule")


@pytest.mark.parametrize(
    ("rule", "has_to_wait"),
    [(lambda arguments: arguments["text"] == "a", True), (lambda arguments: False, False), (broken, True)],
)
def test_a_rule_decides_by_the_arguments_and_lets_nothing_through_when_it_fails(made, rule, has_to_wait):
    catalog = agents(note(made, approval=rule))
    if has_to_wait:
        assert len(waits(CUT, catalog)[1]) == 1
    else:
        start(CUT, catalog)
    assert made == ([] if has_to_wait else ["a"])


def test_an_agent_that_is_asked_waits_too_and_goes_on(made):
    expert = Agent("expert", "Expert", "d", "You know.", tools=("note",))
    helper = Agent("helper", "Helper", "d", "You help.", agent_tools=("expert",))
    catalog, journal = Catalog([helper, expert], {"note": note(made, approval=True)}), Journal()
    message = '[[tool=ask_expert {"input": "[[tool=note {\\"text\\": \\"a\\"}]]"}]]'
    _, [asked] = waits(message, catalog, journal)
    assert (asked.scope, asked.number, asked.tool_name) == ("/2", 2, "note")
    again = Journal(journal.steps.values(), run_id=journal.run_id)
    asked_again = request(message, "helper", decisions={("/2", 2): APPROVED})
    events, result = collect(run_agent(asked_again, agents=catalog, journal=again))
    assert made == ["a"] and "noted a" in outputs(result)[0]
    assert result.usage["requests"] == 4, "two of the agent, two of the one that it asked"
    assert [event["agent"] for event in events if event["event"] == "agent_end"] == ["expert", "helper"]
    texts = [event for event in events if event["agent"] == "expert" and event["kind"] != "lifecycle"]
    assert texts == []
