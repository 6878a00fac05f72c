"""The agent loop through the real SDK against the stand-in."""

import json
from contextlib import nullcontext

import httpx2
import pytest

from models.platform.ids import uuid7
from models.platform.settings import settings
from workers.agents import provider
from workers.agents.catalog import CATALOG, FUNCTIONS, Agent, AgentNotFound, Catalog
from workers.agents.loop import ToolsContext, TurnRequest, run_agent
from workers.agents.provider import ProviderError

NOBODY = ToolsContext(uuid7(), uuid7())


@pytest.fixture(scope="module", autouse=True)
def standin(tmp_path_factory):
    from pydantic import SecretStr

    from devstack.parts.model import Model

    part = Model(tmp_path_factory.mktemp("standin"))
    part.start()
    before = settings.openai_base_url, settings.openai_api_key
    settings.openai_base_url, settings.openai_api_key = part.env()["OPENAI_BASE_URL"], SecretStr("sk-test")
    provider.client.cache_clear()
    yield
    settings.openai_base_url, settings.openai_api_key = before
    provider.client.cache_clear()
    part.stop()


def turn(message, agent="triage", catalog=CATALOG, **more):
    """(events, result) of one question."""
    request = TurnRequest(agent, [{"role": "user", "content": message}], "c1", message, **more)
    running, events = run_agent(request, tools_context=NOBODY, catalog=catalog), []
    while True:
        try:
            events.append(next(running))
        except StopIteration as end:
            return events, end.value


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


def test_every_event_has_every_field_and_none_holds_a_prompt():
    from edge.schemas.chat import StreamingChatEvent

    events, _ = turn("What time is it?")
    for event in events:
        assert set(event) == set(StreamingChatEvent.model_fields)
        StreamingChatEvent.model_validate(event)
    assert "front desk" not in json.dumps(events)


def test_a_tool_call_has_one_id_and_one_name_from_call_to_output():
    events, result = turn("What time is it?")
    named = [event for event in events if event["tool_name"]]
    assert [event["run_item_name"] or event["event"] for event in named] == [
        "tool_called",
        "tool_start",
        "tool_end",
        "tool_output",
    ]
    assert {event["tool_name"] for event in named} == {"get_current_time"} and len(
        {event["tool_call_id"] for event in named}
    ) == 1
    assert [item["type"] for item in result.items] == ["user_message", "tool_call", "tool_result", "assistant_message"]
    assert "UTC" in result.response_text


def test_a_handoff_changes_who_answers():
    events, result = turn("[[handoff=code_assistant]] fix it")
    assert (result.answering_agent, result.handoff_occurred) == ("code_assistant", True)
    assert labels(events)[4:9] == ["handoff_requested", "handoff_occured", "handoff", "agent_update", "agent_start"]
    assert events[-1]["agent_used"] == "code_assistant"


@pytest.mark.parametrize("arguments", ["{}", '{"query": 5}', '{"nonsense": "x"}'])
def test_bad_tool_arguments_are_told_to_the_model_and_the_run_goes_on(arguments):
    _, result = turn(f"[[tool=search_conversations {arguments}]]")
    outputs = [item["call_output"] for item in result.items if item["type"] == "tool_result"]
    assert "do not fit" in json.dumps(outputs) or "not valid" in json.dumps(outputs)


def test_a_tool_that_breaks_does_not_break_the_run(monkeypatch):
    from workers.agents import tools

    monkeypatch.setitem(tools.FUNCTIONS, "get_current_time", lambda context: 1 / 0)
    _, result = turn("What time is it?")
    assert result.items[2]["call_output"] == {"value": "Error: get_current_time failed."}


def test_an_agent_that_never_stops_calling_tools_is_stopped():
    with pytest.raises(ProviderError) as stopped:
        turn("[[loop_tool=get_current_time]]", run_options={"max_turns": 3})
    assert stopped.value.code == "max_turns_exceeded"
    assert stopped.value.usage["requests"] == 3  # a failed run has its price too


def test_a_refusal_is_an_answer_and_says_that_it_is_one():
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
def test_errors_of_the_provider_have_stable_codes_and_none_of_its_words(directive, code):
    with pytest.raises(ProviderError) as failed:
        turn(f"{directive} hello there my friend")
    assert failed.value.code == code
    assert "stand-in" not in str(failed.value) and "sk-" not in str(failed.value)


def test_an_error_before_the_first_token_is_retried_and_one_after_it_is_not():
    _, result = turn("[[status=500 times=2 key=early]] hello")
    assert result.usage["requests"] == 1
    with pytest.raises(ProviderError):
        turn("[[cut=2 times=1 key=late]] hello there my friend")


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_events_are_read_however_the_wire_cuts_them(monkeypatch, size):
    wire = b'event: a\r\ndata: {"n":1,"t":"\xc3\xa9"}\r\n\r\n: ping\n\ndata:{"n":2}\n\ndata: [DONE]\n\n'
    pieces = [wire[n : n + size] for n in range(0, len(wire), size)]
    response = httpx2.Response(200, content=iter(pieces))
    monkeypatch.setattr(provider, "_open", lambda request, waiting: response)
    assert list(provider.stream({}, nullcontext)) == [{"n": 1, "t": "é"}, {"n": 2}]
    assert response.is_closed


def test_a_silent_provider_times_out(monkeypatch, configure):
    configure(openai_timeout_seconds=0.3)
    provider.client.cache_clear()
    try:
        with pytest.raises(ProviderError) as late:
            turn("[[slow=2s]] hello")
    finally:
        monkeypatch.undo()
        provider.client.cache_clear()
    assert late.value.code == "provider_timeout"


def test_the_whole_history_is_sent_and_thoughts_are_not_replayed():
    history = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": "[[echo_history]]"},
    ]
    request = TurnRequest("triage", history, "c1", "[[echo_history]]")
    *_, last = run_agent(request, tools_context=NOBODY)
    assert last["kind"] == "usage"
    _, result = turn("[[reasoning tool=get_current_time]] think")
    assert result.response_text


def test_structured_output_is_parsed():
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    }
    catalog = Catalog([Agent("mapper", "Mapper", "d", "You map.", output_schema=schema)], {})
    _, result = turn("where?", "mapper", catalog)
    assert set(result.structured_output) == {"city"} and json.loads(result.response_text) == result.structured_output


def test_hosted_tools_and_reasoning_show_in_the_record():
    _, result = turn("[[web_search reasoning]] look it up")
    assert {"reasoning", "tool_call"} <= {item["type"] for item in result.items}


def test_a_stop_between_events_closes_the_providers_stream():
    class Stop(BaseException):
        pass

    seen = []

    def checkpoint():
        seen.append(1)
        if len(seen) == 5:
            raise Stop

    request = TurnRequest("triage", [{"role": "user", "content": "[[deltas=50 delay=20ms]]"}], "c1", "x")
    with pytest.raises(Stop):
        list(run_agent(request, tools_context=NOBODY, checkpoint=checkpoint))


@pytest.mark.parametrize(
    "agents",
    [
        [Agent("a", "A", "d", "p", handoffs=("b",)), Agent("b", "B", "d", "p", handoffs=("a",))],
        [Agent("a", "A", "d", "p", handoffs=("nobody",))],
        [Agent("a", "A", "d", "p", tools=("no_such_tool",))],
        [Agent("a", "A", "d", "p", default=True), Agent("b", "B", "d", "p", default=True)],
    ],
)
def test_a_catalogue_that_cannot_work_is_refused_at_load(agents):
    with pytest.raises(ValueError):
        Catalog(agents, {tool.name: tool for tool in FUNCTIONS})


def test_prompts_know_their_request_and_nothing_else():
    agent = Agent("a", "A", "d", "Hello $user_name of $tenant_id")
    Catalog([agent], {})
    assert agent.instructions(user_name="", tenant_id="t1") == "Hello there of t1"
    with pytest.raises(KeyError):
        Catalog([Agent("a", "A", "d", "Hello $unknown")], {})
    with pytest.raises(AgentNotFound):
        CATALOG.get("nobody")
