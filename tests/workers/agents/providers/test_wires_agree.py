"""The same conversation on both wires: what clients see and what is stored is the same."""

import itertools
import json
import re

import pytest

from tests.support.models import function_tools, turn
from workers.agents.catalog import Agent, Catalog
from workers.agents.providers.errors import ProviderError

pytestmark = pytest.mark.usefixtures("provider")
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
AGENTS = Catalog(
    [
        Agent("helper", "Helper", "d", "Help.", tools=("add", "echo"), handoffs=("mapper",), default=True),
        Agent("mapper", "Mapper", "d", "Map.", output_schema=SCHEMA),
    ],
    function_tools(add=lambda context: "3", echo=lambda context, **values: json.dumps(values)),
)
LONG = '{"text": "an argument that is long enough for several pieces", "number": 5}'
CONVERSATIONS = {
    "a text": "[[deltas=12]]",
    "words": "Good morning",
    "a text with other letters": "[[text=ünï ☃ and\n a second line]]",
    "a tool": "[[tool=add]] please",
    "a tool with long arguments": f"[[tool=echo {LONG}]]",
    "parallel tools": f"[[tool=add]] [[tool=echo {LONG}]] [[tool=echo]]",
    "a tool that does not exist": "[[tool=nothing]]",
    "a handoff to structured output": "[[handoff=mapper]] where?",
    "reasoning": "[[reasoning deltas=3]]",
    "reasoning before a tool": "[[reasoning tool=add]]",
    "a refusal": "[[refusal]]",
}
FAILURES = {
    "[[status=400]]": "provider_bad_request",
    "[[status=401]]": "provider_authentication",
    "[[status=403]]": "provider_authentication",
    "[[status=404]]": "model_not_found",
    "[[status=429 retry_after=60]]": "provider_rate_limited",
    "[[status=429 code=insufficient_quota]]": "provider_rate_limited",
    "[[status=500]]": "provider_unavailable",
    "[[status=503]]": "provider_unavailable",
    "[[context_overflow]]": "context_length_exceeded",
    "[[incomplete deltas=3]]": "provider_incomplete",
    "[[content_filter deltas=3]]": "provider_incomplete",
    "[[failed deltas=3]]": "provider_failed",
    "[[error_event deltas=3]]": "provider_failed",
    "[[error_event]]": "provider_failed",
    "[[cut=0]]": "provider_unavailable",
    "[[cut=3]]": "provider_unavailable",
    "[[slow=2s]]": "provider_timeout",
    "[[text=]]": "no_output",
}


@pytest.fixture(autouse=True)
def fast_answers(monkeypatch, configure):
    monkeypatch.setattr("workers.agents.providers.client.time.sleep", lambda seconds: None)
    configure(openai_timeout_seconds=1, agent_tools_at_once=1)  # so that calls end in their order


@pytest.fixture
def on_wire(configure):
    """on_wire(name, message) -> (events, result) of the turn."""

    def run(wire, message, **more):
        configure(openai_wire=wire)
        return turn(message, "helper", AGENTS, **more)

    return run


def without_ids(value):
    """JSON without ids and times, which are other ones in every answer, and without the size of a request."""
    text = re.sub(r'"(id|item_id|response_id|call_id|tool_call_id|created_at)": ("[^"]*"|\d+)', "", json.dumps(value))
    return re.sub(r'"(input_tokens|total_tokens)": \d+', "", text)


def seen(event):
    """What a client can rely on. The payload of a provider's event is the provider's own."""
    return {**event, "payload": {"type": event["raw_type"]} if event["raw_type"] else event["payload"]}


def by_item(events):
    """The events with those of one item together: the chat wire may mix those of parallel calls."""
    groups = itertools.groupby(events, lambda event: "output_index" in (event["payload"] or {}))
    for of_items, group in groups:
        yield from sorted(group, key=lambda event: event["payload"]["output_index"]) if of_items else group


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_the_events_and_the_result_are_the_same(on_wire, name):
    (expected, result), (events, other) = (on_wire(wire, CONVERSATIONS[name]) for wire in ("responses", "chat"))
    assert [without_ids(seen(e)) for e in by_item(events)] == [without_ids(seen(e)) for e in by_item(expected)]
    for field in set(result.__slots__) - {"response_id", "step"}:
        assert without_ids(getattr(other, field)) == without_ids(getattr(result, field)), field
    assert other.usage["input_tokens"] > 0 and other.response_id != result.response_id


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_the_items_of_the_answers_are_the_same(on_wire, name):
    (expected, _), (events, _) = (on_wire(wire, CONVERSATIONS[name]) for wire in ("responses", "chat"))

    def items(events):
        done = [event["payload"] for event in events if event["raw_type"] == "response.output_item.done"]
        return [{key: value for key, value in raw["item"].items() if key not in ("id", "call_id")} for raw in done]

    assert items(events) == items(expected) != []


@pytest.mark.parametrize("directive", FAILURES)
def test_a_failure_has_the_same_code_after_the_same_text(on_wire, directive):
    ends = []
    for wire in ("responses", "chat"):
        with pytest.raises(ProviderError) as failed:
            on_wire(wire, f"{directive} hello")
        events = failed.value.events
        text = "".join(event["text_delta"] or "" for event in events)
        ends.append((failed.value.code, str(failed.value), text, failed.value.usage["requests"]))
    (code, *_, responses_counted), (*_, chat_counted) = ends
    assert ends[0][:3] == ends[1][:3] and code == FAILURES[directive]
    assert chat_counted == responses_counted or directive.startswith("[[failed")  # which the chat wire cannot count


def test_the_second_turn_of_a_conversation_is_the_same(on_wire):
    history = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]
    for wire, system in (("responses", []), ("chat", [{"role": "system", "text": "Help."}])):
        _, result = on_wire(wire, "[[echo_history]]", history=history)
        roles = [{"role": message["role"], "text": message["content"]} for message in history]
        assert json.loads(result.response_text) == [*system, *roles, {"role": "user", "text": "[[echo_history]]"}]


def test_both_wires_get_the_same_limits(on_wire):
    options = {"run_config": {"model_settings": {"temperature": 0.5, "top_p": 0.9, "max_output_tokens": 7777}}}
    for wire, limit in (("responses", "max_output_tokens"), ("chat", "max_tokens")):
        _, result = on_wire(wire, "[[echo_request]]", run_options=options)
        body = json.loads(result.response_text)
        assert (body["temperature"], body["top_p"], body[limit]) == (0.5, 0.9, 7777)
