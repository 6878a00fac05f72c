"""The agent loop through the real SDK against the stand-in."""

import json

import pytest

from tests.support.models import function_tools, request, turn
from workers.agents.catalog import Agent, Catalog
from workers.agents.loop import run_agent
from workers.agents.providers import client
from workers.agents.providers.errors import ProviderError

pytestmark = pytest.mark.usefixtures("provider")


def labels(events):
    return [
        event["run_item_name"] or event["event"] or event["kind"] for event in events if event["kind"] != "raw_response"
    ]


def test_a_plain_answer_streams_its_text_and_ends_with_usage():
    events, result = turn("[[text=Good morning to you]]")
    assert "".join(event["text_delta"] or "" for event in events) == result.response_text == "Good morning to you"
    assert labels(events) == [
        "agent_update",
        "agent_start",
        "llm_start",
        "llm_end",
        "message_output_created",
        "agent_end",
        "usage",
    ]
    assert (
        result.usage["requests"] == 1
        and result.usage["total_tokens"] == result.usage["input_tokens"] + result.usage["output_tokens"]
    )
    assert [item["type"] for item in result.items] == ["user_message", "assistant_message"]


def test_every_event_has_all_fields_and_none_contains_a_prompt():
    from edge.schemas.chat import StreamingChatEvent

    events, _ = turn("What time is it?")
    for event in events:
        assert set(event) == set(StreamingChatEvent.model_fields)
        StreamingChatEvent.model_validate(event)
    assert "front desk" not in json.dumps(events)


def test_all_events_of_a_tool_call_have_its_id_and_name():
    events, result = turn("What time is it?")
    tool_events = [event for event in events if event["tool_name"]]
    assert [event["run_item_name"] or event["event"] for event in tool_events] == [
        "tool_called",
        "tool_start",
        "tool_end",
        "tool_output",
    ]
    assert {event["tool_name"] for event in tool_events} == {"get_current_time"} and len(
        {event["tool_call_id"] for event in tool_events}
    ) == 1
    assert [item["type"] for item in result.items] == ["user_message", "tool_call", "tool_result", "assistant_message"]
    assert "UTC" in result.response_text


def test_after_a_handoff_the_other_agent_answers():
    events, result = turn("[[handoff=code_assistant]] fix it")
    assert (result.answering_agent, result.handoff_occurred) == ("code_assistant", True)
    assert labels(events)[4:9] == ["handoff_requested", "handoff_occured", "handoff", "agent_update", "agent_start"]
    assert events[-1]["agent_used"] == "code_assistant"


@pytest.mark.parametrize("arguments", ["{}", '{"query": 5}', '{"nonsense": "x"}'])
def test_invalid_tool_arguments_are_reported_to_the_model_and_the_run_continues(arguments):
    _, result = turn(f"[[tool=search_conversations {arguments}]]")
    outputs = [item["call_output"] for item in result.items if item["type"] == "tool_result"]
    assert "do not fit" in json.dumps(outputs) or "not valid" in json.dumps(outputs)


def test_a_tool_that_raises_does_not_fail_the_run():
    agents = Catalog([agent("a", tools=("divide",))], function_tools(divide=lambda context: 1 / 0))
    _, result = turn("[[tool=divide]]", "a", agents)
    assert result.items[2]["call_output"] == {"value": "Error: divide failed."}


def test_a_run_fails_when_the_agent_needs_too_many_turns():
    with pytest.raises(ProviderError) as stopped:
        turn("[[loop_tool=get_current_time]]", run_options={"max_turns": 3})
    assert stopped.value.code == "max_turns_exceeded"
    assert stopped.value.usage["requests"] == 3  # tokens are counted for failed runs too


def test_a_refusal_is_an_answer_and_marked_as_a_refusal():
    events, result = turn("[[refusal]]")
    assert result.refusal and result.response_text
    assert "".join(event["text_delta"] or "" for event in events) == result.response_text


@pytest.mark.parametrize(
    ("directive", "code"),
    [
        ("[[status=401]]", "provider_authentication"),
        ("[[status=500]]", "provider_unavailable"),
        ("[[status=503]]", "provider_unavailable"),
        ("[[status=429 retry_after=60]]", "provider_rate_limited"),
        ("[[status=400]]", "provider_bad_request"),
        ("[[context_overflow]]", "context_length_exceeded"),
        ("[[incomplete]]", "provider_incomplete"),
        ("[[failed]]", "provider_failed"),
        ("[[error_event]]", "provider_failed"),
        ("[[cut=2]]", "provider_unavailable"),
    ],
)
def test_provider_errors_have_stable_codes_and_none_of_the_providers_text(directive, code):
    with pytest.raises(ProviderError) as failed:
        turn(f"{directive} hello there my friend")
    assert failed.value.code == code
    assert "stand-in" not in str(failed.value) and "sk-" not in str(failed.value)


def test_an_error_before_the_first_token_is_retried_and_one_after_it_is_not():
    _, result = turn("[[status=500 times=2 key=early]] hello")
    assert result.usage["requests"] == 1
    with pytest.raises(ProviderError):
        turn("[[cut=2 times=1 key=late]] hello there my friend")


@pytest.mark.parametrize("wire", ["responses", "chat"])
def test_a_complete_answer_is_not_lost_with_its_connection(monkeypatch, configure, wire):
    real = client.stream

    def broken_at_its_end(*arguments):
        yield from real(*arguments)
        raise ProviderError("provider_unavailable")

    configure(openai_wire=wire)
    monkeypatch.setattr(client, "stream", broken_at_its_end)
    assert turn("[[text=all of it]]")[1].response_text == "all of it"


def test_a_silent_provider_times_out(configure):
    configure(openai_timeout_seconds=0.3)
    with pytest.raises(ProviderError) as timeout:
        turn("[[slow=2s]] hello")
    assert timeout.value.code == "provider_timeout"


def test_the_whole_history_is_sent_and_reasoning_is_not_sent_back():
    history = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"},
    ]
    events, _ = turn("[[echo_history]]", history=history)
    assert events[-1]["kind"] == "usage"
    _, result = turn("[[reasoning tool=get_current_time]] think")
    assert result.response_text


def test_structured_output_is_parsed():
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    }
    agents = Catalog([Agent("mapper", "Mapper", "d", "You map.", output_schema=schema)], {})
    _, result = turn("where?", "mapper", agents)
    assert set(result.structured_output) == {"city"} and json.loads(result.response_text) == result.structured_output


def test_hosted_tools_and_reasoning_are_recorded():
    _, result = turn("[[web_search reasoning]] look it up")
    assert {"reasoning", "tool_call"} <= {item["type"] for item in result.items}


def test_an_interrupt_between_events_ends_the_turn():
    class Interrupt(BaseException):
        pass

    calls = []

    def checkpoint():
        calls.append(1)
        if len(calls) == 5:
            raise Interrupt

    with pytest.raises(Interrupt):
        list(run_agent(request("[[deltas=50 delay=20ms]]"), checkpoint=checkpoint))


def agent(key, prompt="p", **more):
    return Agent(key, key.upper(), "d", prompt, **more)
