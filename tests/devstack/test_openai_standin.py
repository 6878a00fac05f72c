"""The model stand-in, reached through the real SDK over HTTP."""

import base64
import json
import re
import struct
import sys
import time
import urllib.request
import uuid

import httpx
import openai
import pytest
from pydantic import BaseModel, Field

from devstack.openai.directives import read
from devstack.openai.schemas import instance
from devstack.process import Process, free_port, wait_for

pytestmark = pytest.mark.xdist_group("openai-standin")

NO_PARAMETERS = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
SEARCH_PARAMETERS = {
    "type": "object",
    "properties": {"query": {"type": "string"}},
    "required": ["query"],
    "additionalProperties": False,
}


def function(name, parameters=NO_PARAMETERS):
    return {"type": "function", "name": name, "parameters": parameters, "strict": True}


TOOLS = [
    function("get_current_time"),
    function("search_conversations", SEARCH_PARAMETERS),
    function("transfer_to_code_assistant"),
    function("transfer_to_data_analyst"),
    {"type": "web_search"},
]


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "-k",
        "gevent",
        "--worker-connections",
        "10000",
        "--no-control-socket",
        "-b",
        f"127.0.0.1:{port}",
        "devstack.openai.server:create_app()",
    ]
    process = Process(command, tmp_path_factory.mktemp("standin") / "log")

    def ready():
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).status == 200
        except OSError:
            return False

    try:
        wait_for(ready, process, "stand-in")
        yield f"http://127.0.0.1:{port}"
        assert "Traceback" not in (log := process.log.read_text()), log
    finally:
        process.stop()


@pytest.fixture
def client(url):
    with openai.OpenAI(base_url=f"{url}/v1", api_key="sk-test", max_retries=0, timeout=10) as client:
        yield client


@pytest.fixture
def stats(url):
    return lambda: httpx.get(f"{url}/_standin/stats").json()


@pytest.fixture
def stream(client):
    def run(message, **more):
        return list(client.responses.create(model="gpt-5.1", input=message, stream=True, **more))

    return run


def kinds(events):
    return [event.type.removeprefix("response.") for event in events]


def text_of(events):
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


def follow_up(message, response, *outputs):
    """The input of the next turn: the message, what the model put out, and the outputs of its calls."""
    items = [item.to_dict() for item in response.output]
    calls = [item for item in items if item["type"] == "function_call"]
    answers = [
        {"type": "function_call_output", "call_id": call["call_id"], "output": output}
        for call, output in zip(calls, outputs, strict=True)
    ]
    return [{"role": "user", "content": message}, *items, *answers]


def eventually(check, seconds=3.0):
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_streamed_text_has_the_real_sequence_of_events(stream):
    events = stream("[[deltas=3]]")
    assert kinds(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        *["output_text.delta"] * 3,
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [event.sequence_number for event in events] == list(range(11))
    message = events[-1].response.output[0]
    assert {event.item_id for event in events if hasattr(event, "item_id")} == {message.id}
    assert (text_of(events), events[-1].response.output_text) == ("1 2 3", "1 2 3")
    usage = events[-1].response.usage
    assert usage.output_tokens == 3 and usage.total_tokens == usage.input_tokens + 3


@pytest.mark.parametrize(
    "message",
    [
        "Hello",
        "[[deltas=4]]",
        "[[refusal]]",
        "[[reasoning]] hi",
        "[[web_search]] cats",
        '[[tool=anything {"a": 1}]]',
        "[[incomplete]]",
        "[[failed]]",
        "[[failed deltas=2]]",
        "[[error_event]]",
    ],
)
def test_every_event_fits_the_types_of_the_sdk_strictly(url, message):
    from openai.types.responses import ResponseStreamEvent
    from pydantic import TypeAdapter

    adapter = TypeAdapter(ResponseStreamEvent)
    answer = httpx.post(
        f"{url}/v1/responses",
        headers={"authorization": "Bearer k"},
        json={"model": "m", "input": message, "stream": True},
    )
    frames = answer.text.strip().split("\n\n")
    assert answer.headers["content-type"].startswith("text/event-stream")
    for number, frame in enumerate(frames):
        name, data = frame.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}" and event["sequence_number"] == number
        assert adapter.validate_python(event).type == event["type"]


def test_the_sdks_own_stream_helper_accumulates_the_answer(client):
    with client.responses.stream(model="gpt-5.1", input="[[deltas=5]]") as running:
        seen = list(running)
        final = running.get_final_response()
    assert final.output_text == "1 2 3 4 5" and seen[-1].type == "response.completed"


def test_without_a_stream_the_same_answer_comes_whole(client):
    response = client.responses.create(model="any-name", input="Hello there", instructions="Be kind.", tools=TOOLS)
    assert 'You said: "Hello there".' in response.output_text and "OPENAI_API_KEY" in response.output_text
    assert (response.status, response.model, response.instructions) == ("completed", "any-name", "Be kind.")
    assert len(response.tools) == len(TOOLS)


def test_the_async_client_is_served_as_well(url):
    import asyncio

    async def run():
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="sk-test") as client:
            stream = await client.responses.create(model="m", input="[[deltas=2]]", stream=True)
            return [event async for event in stream]

    assert text_of(asyncio.run(run())) == "1 2"


def test_a_delay_lies_between_the_deltas_and_not_before_the_first(client):
    started, times = time.monotonic(), []
    for event in client.responses.create(model="m", input="[[deltas=6 delay=50ms]]", stream=True):
        if event.type == "response.output_text.delta":
            times.append(time.monotonic() - started)
    # deltas have due times of their own, so one that is late shortens the gap to the next
    assert times[0] < 0.15 and 0.24 < times[-1] < 0.6


def test_slow_waits_before_the_first_token_streamed_or_not(client):
    started = time.monotonic()
    client.responses.create(model="m", input="[[slow=200ms deltas=1]]")
    assert time.monotonic() - started >= 0.2
    stream = client.responses.create(model="m", input="[[slow=200ms deltas=1]]", stream=True)
    assert next(stream).type == "response.created" and next(stream).type == "response.in_progress"
    started = time.monotonic()
    assert next(stream).type == "response.output_item.added" and time.monotonic() - started > 0.1
    stream.close()


def test_asked_for_the_time_it_calls_the_tool_and_then_tells(client):
    question = "What time is it?"
    first = client.responses.create(model="m", input=question, tools=TOOLS)
    (call,) = first.output
    assert (call.type, call.name, call.arguments) == ("function_call", "get_current_time", "{}")
    second = client.responses.create(
        model="m", input=follow_up(question, first, "2025-01-02 03:04:05 UTC"), tools=TOOLS
    )
    assert "2025-01-02 03:04:05 UTC" in second.output_text


def test_a_call_of_an_earlier_turn_does_not_count(client):
    question = "What time is it?"
    first = client.responses.create(model="m", input=question, tools=TOOLS)
    items = [
        *follow_up(question, first, "noon"),
        {"role": "assistant", "content": "noon"},
        {"role": "user", "content": question},
    ]
    assert client.responses.create(model="m", input=items, tools=TOOLS).output[0].type == "function_call"


def test_a_function_call_is_streamed_with_its_arguments(stream):
    events = stream('Search my conversations for "blue whales"', tools=TOOLS)
    call = events[-1].response.output[0]
    assert json.loads(call.arguments) == {"query": "blue whales"}
    pieces = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
    assert "".join(pieces) == call.arguments
    without = [kind for kind in kinds(events) if kind != "function_call_arguments.delta"]
    assert without == [
        "created",
        "in_progress",
        "output_item.added",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]


@pytest.mark.parametrize(
    ("message", "target", "speaker"),
    [
        ("There is a bug in my python function", "transfer_to_code_assistant", "Code Assistant here"),
        ("Please analyse these statistics", "transfer_to_data_analyst", "Data Analyst here"),
        ("[[handoff=data_analyst]] hello", "transfer_to_data_analyst", "Data Analyst here"),
    ],
)
def test_it_hands_off_and_then_answers_as_that_agent(client, message, target, speaker):
    first = client.responses.create(model="m", input=message, tools=TOOLS)
    assert [item.name for item in first.output] == [target]
    items = follow_up(message, first, '{"assistant": "..."}')
    assert speaker in client.responses.create(model="m", input=items, tools=TOOLS[:2]).output_text
    assert speaker in client.responses.create(model="m", input=items, tools=TOOLS).output_text


def test_what_is_not_offered_is_not_called(client):
    for message in ("What time is it?", "a bug in my code", "[[handoff=code_assistant]]"):
        assert client.responses.create(model="m", input=message).output_text


def test_a_tool_directive_calls_once_and_a_loop_for_ever(client):
    for message, again in (('[[tool=add {"a": [[1]], "b": 2}]]', False), ("[[loop_tool=add]]", True)):
        first = client.responses.create(model="m", input=message)
        assert first.output[0].name == "add"
        second = client.responses.create(model="m", input=follow_up(message, first, "3"))
        assert (second.output[0].type == "function_call") is again


def test_several_tool_directives_call_in_parallel(client):
    response = client.responses.create(model="m", input='[[tool=a {"x": 1}]] [[tool=b]]')
    assert [(item.name, item.arguments) for item in response.output] == [("a", '{"x": 1}'), ("b", "{}")]
    assert len({item.call_id for item in response.output}) == 2
    alone = client.responses.create(model="m", input="[[tool=a]] [[tool=b]]", parallel_tool_calls=False)
    assert len(alone.output) == 1


def test_the_tool_choice_is_obeyed(client):
    def ask(choice, message="Hi"):
        return client.responses.create(model="m", input=message, tools=TOOLS, tool_choice=choice).output[0]

    assert ask("none", "What time is it?").type == "message"
    assert ask("required").name == "get_current_time"
    chosen = ask({"type": "function", "name": "search_conversations"})
    assert json.loads(chosen.arguments) == {"query": "demo query"}


def test_a_web_search_shows_its_stages_and_cites(stream):
    events = stream("Please search the web for otters", tools=TOOLS)
    stages = [kind for kind in kinds(events) if kind.startswith("web_search_call")]
    assert stages == ["web_search_call.in_progress", "web_search_call.searching", "web_search_call.completed"]
    search, message = events[-1].response.output
    assert (search.action.query, search.status) == ("otters", "completed")
    assert message.content[0].annotations[0].type == "url_citation"


def test_reasoning_comes_first_as_a_summary(stream):
    events = stream("[[reasoning deltas=2]]")
    assert [kind for kind in kinds(events) if "delta" not in kind][2:7] == [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
    ]
    reasoning, message = events[-1].response.output
    assert reasoning.summary[0].text and message.content[0].text == "1 2"
    assert events[-1].response.usage.output_tokens_details.reasoning_tokens > 0


class Colour(BaseModel):
    name: str
    strength: int = Field(ge=3, le=7)
    code: str = Field(pattern=r"^#[0-9a-f]{6}$")


class Palette(BaseModel):
    title: str = Field(min_length=20, max_length=30)
    colours: list[Colour] = Field(min_length=2)
    parent: "Palette | None"


def test_a_json_schema_is_satisfied(client):
    response = client.responses.parse(model="m", input="Hi", text_format=Palette)
    assert isinstance(response.output_parsed, Palette)
    assert response.output_text == client.responses.parse(model="m", input="Hi", text_format=Palette).output_text


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"enum": ["b", "a"]}, "b"),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 0.5}, 0.25),
        ({"type": "integer", "maximum": -3}, -3),
        ({"type": ["null", "integer"]}, 1),
        ({"anyOf": [{"type": "null"}, {"type": "boolean"}]}, True),
        ({"allOf": [{"properties": {"a": {"const": 1}}}, {"properties": {"b": {"const": 2}}}]}, {"a": 1, "b": 2}),
        ({"type": "array", "items": {"enum": [1, 2, 3]}, "minItems": 3, "uniqueItems": True}, [1, 2, 3]),
        ({"type": "string", "format": "date"}, "2025-01-01"),
    ],
)
def test_an_instance_obeys_its_schema(schema, value):
    assert instance(schema) == value


def test_a_schema_without_end_is_refused(client):
    endless = {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"], "additionalProperties": False}
    form = {"format": {"type": "json_schema", "name": "x", "schema": endless, "strict": True}}
    with pytest.raises(openai.BadRequestError, match="no finite value"):
        client.responses.create(model="m", input="Hi", text=form)


@pytest.mark.parametrize(
    "schema", [{"$ref": 3}, {"$ref": "#/nothing"}, {"type": "magic"}, {"items": 3}, {"enum": []}, {"pattern": "("}]
)
def test_a_malformed_schema_is_refused(url, schema):
    form = {"format": {"type": "json_schema", "name": "x", "schema": {"properties": {"a": schema}}}}
    body = {"model": "m", "input": "Hi", "text": form}
    answer = httpx.post(f"{url}/v1/responses", json=body, headers={"authorization": "Bearer k"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_json_schema")


def test_it_refuses_when_asked(stream):
    events = stream("[[refusal]]")
    assert kinds(events)[-4:] == ["refusal.done", "content_part.done", "output_item.done", "completed"]
    part = events[-1].response.output[0].content[0]
    assert part.type == "refusal"
    assert part.refusal == "".join(event.delta for event in events if event.type == "response.refusal.delta")


def test_an_incomplete_answer_says_why(stream):
    response = stream("[[incomplete deltas=3]]")[-1].response
    assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert response.output[0].status == "incomplete"
    assert stream("[[deltas=30]]", max_output_tokens=16)[-1].response.usage.output_tokens == 16


def test_a_failed_answer_ends_with_its_error(stream, client):
    events = stream("[[failed deltas=2]]")
    assert kinds(events)[-2:] == ["output_text.delta", "failed"]
    assert events[-1].response.error.code == "server_error"
    assert client.responses.create(model="m", input="[[failed]]").status == "failed"


def test_an_error_event_ends_the_stream(stream):
    assert kinds(stream("[[error_event]]")) == ["created", "in_progress", "error"]


@pytest.mark.parametrize(
    ("directive", "error", "code"),
    [
        ("status=429 retry_after=1", openai.RateLimitError, "rate_limit_exceeded"),
        ("status=429 code=insufficient_quota", openai.RateLimitError, "insufficient_quota"),
        ("status=500", openai.InternalServerError, None),
        ("status=503", openai.InternalServerError, None),
        ("status=401", openai.AuthenticationError, "invalid_api_key"),
        ("context_overflow", openai.BadRequestError, "context_length_exceeded"),
    ],
)
def test_an_http_error_has_openais_shape(client, directive, error, code):
    with pytest.raises(error) as raised:
        client.responses.create(model="m", input=f"[[{directive}]] hi", stream=True)
    assert raised.value.code == code
    assert set(raised.value.body) == {"message", "type", "param", "code"}
    assert raised.value.request_id.startswith("req_")
    assert raised.value.response.headers.get("retry-after") == ("1" if "retry_after" in directive else None)


def test_a_failure_may_end_after_so_many_requests(client, stats):
    key = uuid.uuid4().hex
    before = stats()["requests"]
    patient = client.with_options(max_retries=3)
    response = patient.responses.create(model="m", input=f"[[fail_times=2 status=500 key={key}]] [[deltas=2]]")
    assert response.output_text == "1 2" and stats()["requests"] == before + 3


def test_a_connection_is_cut_in_mid_stream(client, stats):
    message = f"[[deltas=9]] [[cut=5 times=1 key={uuid.uuid4().hex}]]"
    before, seen = stats()["closed_early"], []
    with pytest.raises((openai.APIConnectionError, httpx.HTTPError)):
        for event in client.responses.create(model="m", input=message, stream=True):
            seen.append(event)
    assert text_of(seen) == "1 2 3 4 5 "
    again = client.responses.create(model="m", input=message, stream=True)
    assert text_of(list(again)) == "1 2 3 4 5 6 7 8 9"
    assert stats()["closed_early"] == before
    with pytest.raises(openai.APIConnectionError):
        client.responses.create(model="m", input="[[cut=0]]")


@pytest.mark.parametrize("message", ["[[hang]]", "[[deltas=3 delay=1m]]", "[[slow=1m]]"])
def test_a_client_that_leaves_is_noticed_at_once(client, stats, message):
    before = stats()
    stream = client.responses.create(model="m", input=message, stream=True)
    next(stream)
    assert stats()["open_streams"] == before["open_streams"] + 1
    stream.close()
    client.close()
    eventually(lambda: stats()["open_streams"] == before["open_streams"], 1)
    assert stats()["closed_early"] == before["closed_early"] + 1


def test_a_client_that_waits_for_a_whole_answer_is_missed_too(client, stats):
    before = stats()
    with pytest.raises(openai.APITimeoutError):
        client.responses.create(model="m", input="[[hang]]", timeout=0.3)
    eventually(lambda: stats()["closed_early"] == before["closed_early"] + 1, 1)


def test_a_stream_read_to_its_end_was_not_closed_early(stream, stats):
    before = stats()
    stream("[[deltas=5 delay=5ms]]")
    assert stats() == {**before, "requests": before["requests"] + 1}


def test_it_answers_exactly_a_given_text(client):
    for text in ("  two  spaces\nand a line ", '{"a":[[1]]}', "[1]", "ünï ☃"):
        assert client.responses.create(model="m", input=f"[[text={text}]]").output_text == text


def test_it_echoes_what_it_was_sent(client):
    question = "[[tool=add]] [[echo_history]]"
    first = client.responses.create(model="m", input=question)
    items = [{"role": "developer", "content": "D"}, *follow_up(question, first, "3")]
    told = json.loads(client.responses.create(model="m", input=items, instructions="I").output_text)
    assert [(entry["role"], entry["text"]) for entry in told] == [
        ("developer", "D"),
        ("user", question),
        ("tool_call", "add {}"),
        ("tool", "3"),
    ]
    body = client.responses.create(model="m", input="[[echo_request]]", instructions="I").output_text
    assert json.loads(body)["instructions"] == "I"


@pytest.mark.parametrize(
    "text", ["[[1, 2], [3, 4]]", "[[deltas=x]]", "[[unknown]]", "[[deltas=2", "[[]]", "[[status=200]]", "[[tool={}]]"]
)
def test_brackets_that_are_no_directives_stay_text(text):
    asked = read(text)
    assert (asked.plain, asked.values, asked.calls) == (text, {}, [])


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"input": "x"}, "model", "missing_required_parameter"),
        ({"model": "m"}, "input", "missing_required_parameter"),
        ({"model": "m", "input": []}, "input", "missing_required_parameter"),
        ({"model": "m", "input": 3}, "input", "invalid_type"),
        ({"model": "m", "input": [3]}, "input[0]", "invalid_type"),
        ({"model": "m", "input": [{"role": "robot", "content": "x"}]}, "input[0].role", "invalid_value"),
        ({"model": "m", "input": [{"role": "user"}]}, "input[0].content", "missing_required_parameter"),
        (
            {"model": "m", "input": [{"role": "user", "content": [{"type": "x"}]}]},
            "input[0].content[0]",
            "invalid_value",
        ),
        ({"model": "m", "input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]}, "input", None),
        (
            {"model": "m", "input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}]},
            "input",
            None,
        ),
        ({"model": "m", "input": "x", "tools": {}}, "tools", "invalid_type"),
        ({"model": "m", "input": "x", "tools": [1]}, "tools[0]", "invalid_type"),
        ({"model": "m", "input": "x", "tools": [{}]}, "tools[0].type", "missing_required_parameter"),
        ({"model": "m", "input": "x", "tools": [{"type": "magic"}]}, "tools[0].type", "invalid_value"),
        ({"model": "m", "input": "x", "tools": [{"type": "function"}]}, "tools[0].name", "missing_required_parameter"),
        (
            {"model": "m", "input": "x", "tools": [{"type": "function", "name": "a b"}]},
            "tools[0].name",
            "invalid_value",
        ),
        (
            {"model": "m", "input": "x", "tools": [function("f", {"type": "object"})]},
            "tools[0].parameters",
            "invalid_function_parameters",
        ),
        ({"model": "m", "input": "x", "tool_choice": {"type": "function", "name": "f"}}, "tool_choice", None),
        ({"model": "m", "input": "x", "stream": "yes"}, "stream", "invalid_type"),
        ({"model": "m", "input": "x", "temperature": 3}, "temperature", "decimal_out_of_range"),
        ({"model": "m", "input": "x", "max_output_tokens": 1}, "max_output_tokens", "integer_below_min_value"),
        ({"model": "m", "input": "x", "text": {"format": {"type": "xml"}}}, "text.format.type", "invalid_value"),
    ],
)
def test_bad_input_is_refused(url, body, param, code):
    answer = httpx.post(f"{url}/v1/responses", json=body, headers={"authorization": "Bearer k"})
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (400, "invalid_request_error")
    assert (error["param"], error["code"]) == (param, code)


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff"])
def test_malformed_json_is_refused(url, raw):
    for path in ("responses", "embeddings"):
        answer = httpx.post(f"{url}/v1/{path}", content=raw, headers={"authorization": "Bearer k"})
        assert answer.status_code == 400 and "JSON" in answer.json()["error"]["message"]


def test_without_a_key_nothing_is_answered(url):
    for headers in ({}, {"authorization": "Basic x"}, {"authorization": "Bearer"}):
        answer = httpx.get(f"{url}/v1/models", headers=headers)
        assert answer.status_code == 401 and set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_unknown_paths_and_models_are_not_found(url, client):
    answer = httpx.get(f"{url}/v1/nothing", headers={"authorization": "Bearer k"})
    assert answer.status_code == 404 and "Invalid URL" in answer.json()["error"]["message"]
    assert client.models.retrieve(client.models.list().data[0].id).object == "model"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nothing")


def test_embeddings_are_near_for_near_texts(client):
    texts = ["a cat sat on the mat", "the kitten sits on a rug", "interest rates and bond yields"]
    vectors = [entry.embedding for entry in client.embeddings.create(model="e", input=texts).data]
    assert {len(vector) for vector in vectors} == {256}

    def near(a, b):
        return sum(x * y for x, y in zip(a, b, strict=True))

    assert near(vectors[0], vectors[0]) == pytest.approx(1, abs=1e-4)
    assert near(vectors[0], vectors[1]) > near(vectors[0], vectors[2])


def test_embeddings_come_as_numbers_or_base64_and_shorter_if_asked(client):
    def ask(**more):
        return client.embeddings.create(model="e", input="hello", **more).data[0].embedding

    numbers, packed = ask(encoding_format="float"), base64.b64decode(ask(encoding_format="base64"))
    assert struct.unpack("<256f", packed) == pytest.approx(numbers)
    short = ask(dimensions=64)
    assert len(short) == 64 and sum(x * x for x in short) == pytest.approx(1, abs=1e-4)
    for wrong in ({"dimensions": 300}, {"input": ""}, {"input": []}, {"input": [1, 2]}):
        with pytest.raises(openai.BadRequestError):
            client.embeddings.create(**{"model": "e", "input": "x", **wrong})


def test_the_readme_tells_every_directive():
    from pathlib import Path

    from devstack.openai import directives

    names = set(directives._VALUES) | directives._FLAGS | directives._CALLS | {"text"}
    told = (Path(directives.__file__).parent / "README.md").read_text().split("## Directives")[1]
    assert not {name for name in names if not re.search(rf"\b{name}\b", told)}
