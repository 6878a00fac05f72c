"""Requests to models: their spans and metrics."""

import json
import threading
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from prometheus_client import REGISTRY

from models.platform import tracing
from tests.support.models import turn
from tests.support.traces import TRACE, TRACEPARENT, id_of, parent_of, trace_of
from workers.agents import captured
from workers.agents.catalog import Agent, Catalog
from workers.agents.providers import client
from workers.agents.providers.errors import ProviderError
from workers.agents.providers.models_file import Provider

CHAIN = """
[providers.first]
base_url = "{url}"
wire = "responses"
attempts = 1

[providers.second]
base_url = "{url}"
wire = "chat"
attempts = 1

[aliases]
safe = ["first:one", "second:two"]
"""


@pytest.fixture
def ask(provider, models_file, spans):
    """ask(message) -> (events, result) of an agent without tools, whose model is a chain of two."""
    models_file(CHAIN.format(url=provider))
    return lambda message, model="safe": turn(message, "a", Catalog([Agent("a", "A", "d", "p", model=model)], {}))


def sample(name, **labels):
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_a_request_is_a_client_span_by_the_conventions(ask, spans):
    with tracing.span("job", within=TRACEPARENT):
        _, result = ask("[[text=private words]]")
    span = spans.one("chat ")
    assert (span.name, span.kind.name, trace_of(span)) == ("chat one", "CLIENT", TRACE)
    found = dict(span.attributes)
    assert found.pop("server.port") > 0 and 0 < found.pop("gen_ai.response.time_to_first_chunk") < 60
    assert found.pop("gen_ai.response.id") == result.response_id
    assert found.pop("gen_ai.usage.input_tokens") == result.usage["input_tokens"]
    assert found.pop("gen_ai.usage.output_tokens") == result.usage["output_tokens"]
    known = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "first",
        "gen_ai.request.model": "one",
        "gen_ai.response.model": "one",
        "gen_ai.request.stream": True,
        "gen_ai.output.type": "text",
        "server.address": "127.0.0.1",
    }
    assert known.items() <= found.items()
    assert "private words" not in spans.text


@pytest.mark.parametrize(
    ("directive", "code"),
    [
        ("status=400", "provider_bad_request"),
        ("incomplete", "provider_incomplete"),
        ("cut=2", "provider_unavailable"),
        ("error_event deltas=2", "provider_failed"),
    ],
)
def test_a_failure_is_recorded_by_its_code(ask, spans, directive, code):
    labels = {"provider": "first", "model": "first:one", "outcome": code}
    before = sample("model_request_seconds_count", **labels)
    with pytest.raises(ProviderError):
        ask(f"[[{directive}]] private words")
    span = spans.one("chat ")
    assert (span.attributes["error.type"], span.status.status_code.name) == (code, "ERROR")
    assert sample("model_request_seconds_count", **labels) == before + 1
    assert "private words" not in spans.text


def test_each_model_of_a_chain_has_a_span(ask, spans):
    with pytest.raises(ProviderError):
        ask("[[status=503]]")
    first, second = spans.named("chat ")
    assert (first.name, second.name) == ("chat one", "chat two")
    assert first.attributes["error.type"] == second.attributes["error.type"] == "provider_unavailable"


@pytest.mark.parametrize("model", ["first:one", "second:two"])
def test_time_and_tokens_are_counted_by_the_models_own_name(ask, model):
    provider = model.partition(":")[0]

    def counts():
        tokens = [sample("model_tokens_total", model=model, direction=way) for way in ("input", "output")]
        answered = sample("model_request_seconds_count", provider=provider, model=model, outcome="ok")
        return [*tokens, answered, sample("model_first_token_seconds_count", provider=provider, model=model)]

    before = counts()
    _, result = ask("[[deltas=3]]", model)
    used = [after - earlier for after, earlier in zip(counts(), before, strict=True)]
    assert used == [result.usage["input_tokens"], result.usage["output_tokens"], 1, 1]


def test_an_answer_that_is_broken_off_by_us_is_interrupted(ask, spans):
    from tests.support.models import request
    from workers.agents.loop import run_agent

    labels = {"provider": "first", "model": "first:one", "outcome": "interrupted"}
    before = sample("model_request_seconds_count", **labels)
    running = run_agent(request("[[deltas=50]]", "a"), agents=Catalog([Agent("a", "A", "d", "p", model="safe")], {}))
    while next(running)["kind"] != "raw_response":
        pass
    running.close()
    assert sample("model_request_seconds_count", **labels) == before + 1
    assert tracing.current() is None


def test_an_agent_its_models_and_its_tools_are_one_tree(provider, spans):
    with tracing.span("job", within=TRACEPARENT):
        turn("[[tool=get_current_time]] private words")
    agent, tool = spans.one("invoke_agent"), spans.one("execute_tool")
    assert (agent.name, tool.name) == ("invoke_agent Triage Assistant", "execute_tool get_current_time")
    assert {parent_of(span) for span in [*spans.named("chat "), tool]} == {id_of(agent)}
    assert parent_of(agent) == id_of(spans.one("job")) and len(spans.named("chat ")) == 2
    assert dict(agent.attributes) == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-5.1",
        "gen_ai.agent.id": "triage",
        "gen_ai.agent.name": "Triage Assistant",
        "gen_ai.conversation.id": "c1",
    }
    assert tool.attributes["gen_ai.tool.call.id"].startswith("call_")
    assert "private words" not in spans.text and "UTC" not in spans.text


def test_a_handoff_ends_the_span_of_one_agent_and_begins_that_of_the_next(provider, spans):
    with tracing.span("job"):
        turn("[[handoff=code_assistant]]")
        assert tracing.current().split("-")[2] == tracing.ids()["span_id"]
    first, second = spans.named("invoke_agent")
    assert (first.attributes["gen_ai.agent.id"], second.attributes["gen_ai.agent.id"]) == ("triage", "code_assistant")
    assert parent_of(first) == parent_of(second) == id_of(spans.one("job"))
    assert first.end_time <= second.start_time
    assert [parent_of(span) for span in spans.named("chat ")] == [id_of(first), id_of(second)]


@pytest.mark.parametrize(
    ("directive", "tool", "outcome"),
    [
        ("tool=get_current_time", "get_current_time", "ok"),
        ('tool=search_conversations {"query": " "}', "search_conversations", "failed"),
        ('tool=get_current_time {"zone": "x"}', "get_current_time", "arguments"),
        ("tool=invented_by_the_model", "other", "unknown"),
    ],
)
def test_calls_of_tools_are_counted_by_how_they_ended(provider, spans, directive, tool, outcome):
    def counts():
        return [sample("tool_calls_total", tool=tool, outcome=outcome), sample("tool_call_seconds_count", tool=tool)]

    before = counts()
    turn(f"[[{directive}]] [[text=done]]")
    assert [after - earlier for after, earlier in zip(counts(), before, strict=True)] == [1, 1]
    assert [span.attributes.get("error.type") for span in spans.named("execute_tool")] == {
        "ok": [None],
        "failed": ["failed"],
    }.get(outcome, [])  # a call that cannot be made has no span


def test_parallel_calls_are_siblings(provider, spans):
    turn("[[tool=get_current_time tool=get_current_time tool=get_current_time]] [[text=done]]")
    assert {parent_of(span) for span in spans.named("execute_tool")} == {id_of(spans.one("invoke_agent"))}
    assert not [span for span in spans.all if span.parent is None and span.name.startswith("execute_tool")]


@pytest.mark.parametrize(
    ("setting", "is_captured"),
    [("NO_CONTENT", False), ("EVENT_ONLY", False), ("false", False), ("SPAN_ONLY", True), ("span_and_event", True)],
)
def test_what_was_said_is_recorded_only_where_the_operator_asks_for_it(
    provider, spans, configure, setting, is_captured
):
    configure(otel_instrumentation_genai_capture_message_content=setting)
    turn('[[tool=search_conversations {"query": "whales"}]] [[text=done]] private words')
    tool, (first, second) = spans.one("execute_tool"), spans.named("chat ")
    if not is_captured:
        assert "private words" not in spans.text and "whales" not in spans.text
        return
    assert json.loads(tool.attributes["gen_ai.tool.call.arguments"]) == {"query": "whales"}
    assert tool.attributes["gen_ai.tool.call.result"] == "No conversation matches."
    (asked,) = json.loads(first.attributes["gen_ai.input.messages"])
    assert asked["role"] == "user" and "private words" in asked["parts"][0]["content"]
    (answer,) = json.loads(first.attributes["gen_ai.output.messages"])
    assert (answer["finish_reason"], answer["parts"][-1]["name"]) == ("tool_call", "search_conversations")
    assert [message["role"] for message in json.loads(second.attributes["gen_ai.input.messages"])] == [
        "user",
        "assistant",
        "tool",
    ]
    (answer,) = json.loads(second.attributes["gen_ai.output.messages"])
    assert answer["parts"] == [{"type": "text", "content": "done"}] and answer["finish_reason"] == "stop"
    assert json.loads(second.attributes["gen_ai.system_instructions"])[0]["content"]


def test_what_is_recorded_of_a_long_conversation_is_bounded(spans, configure):
    configure(otel_instrumentation_genai_capture_message_content="SPAN_ONLY")
    request = {"input": [{"role": "user", "content": "x" * 100_000}] * 500, "instructions": "y" * 100_000}
    attributes = captured.asked(request)
    assert sum(map(len, attributes.values())) < 500_000
    assert len(json.loads(attributes["gen_ai.input.messages"])) == 50
    output = [{"type": "image_generation_call", "result": "z" * 100_000}]
    assert "zzz" not in captured.answered({"output": output})["gen_ai.output.messages"]


@pytest.fixture
def server():
    """(base URL, the headers of each request) of a server that refuses everything."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            seen.append(dict(self.headers))
            self.send_error(500)

        def log_message(self, *_):
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{listening.server_port}/v1", seen
    listening.shutdown()
    thread.join()
    listening.server_close()


@pytest.mark.parametrize("send_trace", [True, False])
def test_only_a_provider_that_wants_it_is_told_the_trace(server, spans, send_trace):
    url, seen = server
    provider = Provider(name="x", base_url=url, attempts=2, send_trace=send_trace)
    with tracing.span("chat m", "client", within=TRACEPARENT), pytest.raises(ProviderError):
        list(client.stream(provider, "/responses", {}, nullcontext))
    sent = [headers.get("traceparent") for headers in seen]
    expected = f"00-{TRACE}-{id_of(spans.one('chat m'))}-01" if send_trace else None
    assert sent == [expected] * 2
