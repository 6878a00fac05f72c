"""The answers of the model stand-in, requested with the real SDK over HTTP."""

import json
import time

import httpx
import openai
import pytest
from pydantic import BaseModel, Field

from devstack.openai.schemas import instance
from tests.support.standin import TOOLS, follow_up, kinds, text_of


def test_a_streamed_text_has_the_same_events_as_the_real_service(stream):
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
def test_every_event_validates_against_the_types_of_the_sdk(url, message):
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


def test_the_stream_helper_of_the_sdk_accumulates_the_answer(client):
    with client.responses.stream(model="gpt-5.1", input="[[deltas=5]]") as running:
        seen = list(running)
        final = running.get_final_response()
    assert final.output_text == "1 2 3 4 5" and seen[-1].type == "response.completed"


def test_without_streaming_the_answer_is_one_object(client):
    response = client.responses.create(model="any-name", input="Hello there", instructions="Be kind.", tools=TOOLS)
    assert 'You said: "Hello there".' in response.output_text and "OPENAI_API_KEY" in response.output_text
    assert (response.status, response.model, response.instructions) == ("completed", "any-name", "Be kind.")
    assert len(response.tools) == len(TOOLS)


def test_the_async_client_works_too(url):
    import asyncio

    async def run():
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="sk-test") as client:
            stream = await client.responses.create(model="m", input="[[deltas=2]]", stream=True)
            return [event async for event in stream]

    assert text_of(asyncio.run(run())) == "1 2"


def test_the_delay_is_between_deltas_and_not_before_the_first(client):
    started, times = time.monotonic(), []
    for event in client.responses.create(model="m", input="[[deltas=6 delay=50ms]]", stream=True):
        if event.type == "response.output_text.delta":
            times.append(time.monotonic() - started)
    # every delta has a due time, so a late one shortens the wait for the next
    assert times[0] < 0.15 and 0.24 < times[-1] < 0.6


def test_slow_waits_before_the_first_token_with_and_without_streaming(client):
    started = time.monotonic()
    client.responses.create(model="m", input="[[slow=200ms deltas=1]]")
    assert time.monotonic() - started >= 0.2
    stream = client.responses.create(model="m", input="[[slow=200ms deltas=1]]", stream=True)
    assert next(stream).type == "response.created" and next(stream).type == "response.in_progress"
    started = time.monotonic()
    assert next(stream).type == "response.output_item.added" and time.monotonic() - started > 0.1
    stream.close()


def test_a_question_for_the_time_calls_the_tool_and_answers_with_its_output(client):
    question = "What time is it?"
    first = client.responses.create(model="m", input=question, tools=TOOLS)
    (call,) = first.output
    assert (call.type, call.name, call.arguments) == ("function_call", "get_current_time", "{}")
    second = client.responses.create(
        model="m", input=follow_up(question, first, "2025-01-02 03:04:05 UTC"), tools=TOOLS
    )
    assert "2025-01-02 03:04:05 UTC" in second.output_text


def test_a_call_in_an_earlier_turn_does_not_prevent_another(client):
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
def test_a_handoff_is_followed_by_an_answer_as_that_agent(client, message, target, speaker):
    first = client.responses.create(model="m", input=message, tools=TOOLS)
    assert [item.name for item in first.output] == [target]
    items = follow_up(message, first, '{"assistant": "..."}')
    assert speaker in client.responses.create(model="m", input=items, tools=TOOLS[:2]).output_text
    assert speaker in client.responses.create(model="m", input=items, tools=TOOLS).output_text


def test_functions_that_are_not_offered_are_not_called(client):
    for message in ("What time is it?", "a bug in my code", "[[handoff=code_assistant]]"):
        assert client.responses.create(model="m", input=message).output_text


def test_tool_calls_once_and_loop_tool_in_every_turn(client):
    for message, again in (('[[tool=add {"a": [[1]], "b": 2}]]', False), ("[[loop_tool=add]]", True)):
        first = client.responses.create(model="m", input=message)
        assert first.output[0].name == "add"
        second = client.responses.create(model="m", input=follow_up(message, first, "3"))
        assert (second.output[0].type == "function_call") is again


def test_several_tool_directives_are_called_in_parallel(client):
    response = client.responses.create(model="m", input='[[tool=a {"x": 1}]] [[tool=b]]')
    assert [(item.name, item.arguments) for item in response.output] == [("a", '{"x": 1}'), ("b", "{}")]
    assert len({item.call_id for item in response.output}) == 2
    alone = client.responses.create(model="m", input="[[tool=a]] [[tool=b]]", parallel_tool_calls=False)
    assert len(alone.output) == 1


def test_tool_choice_is_obeyed(client):
    def ask(choice, message="Hi"):
        return client.responses.create(model="m", input=message, tools=TOOLS, tool_choice=choice).output[0]

    assert ask("none", "What time is it?").type == "message"
    assert ask("required").name == "get_current_time"
    call = ask({"type": "function", "name": "search_conversations"})
    assert json.loads(call.arguments) == {"query": "demo query"}


def test_a_web_search_sends_its_stages_and_a_citation(stream):
    events = stream("Please search the web for otters", tools=TOOLS)
    stages = [kind for kind in kinds(events) if kind.startswith("web_search_call")]
    assert stages == ["web_search_call.in_progress", "web_search_call.searching", "web_search_call.completed"]
    search, message = events[-1].response.output
    assert (search.action.query, search.status) == ("otters", "completed")
    assert message.content[0].annotations[0].type == "url_citation"


def test_a_reasoning_summary_comes_before_the_answer(stream):
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


def test_the_answer_satisfies_the_json_schema(client):
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
def test_an_instance_satisfies_its_schema(schema, value):
    assert instance(schema) == value


def test_a_schema_without_a_finite_value_is_a_400(client):
    endless = {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"], "additionalProperties": False}
    form = {"format": {"type": "json_schema", "name": "x", "schema": endless, "strict": True}}
    with pytest.raises(openai.BadRequestError, match="no finite value"):
        client.responses.create(model="m", input="Hi", text=form)


@pytest.mark.parametrize(
    "schema", [{"$ref": 3}, {"$ref": "#/nothing"}, {"type": "magic"}, {"items": 3}, {"enum": []}, {"pattern": "("}]
)
def test_a_malformed_schema_is_a_400(url, schema):
    form = {"format": {"type": "json_schema", "name": "x", "schema": {"properties": {"a": schema}}}}
    body = {"model": "m", "input": "Hi", "text": form}
    answer = httpx.post(f"{url}/v1/responses", json=body, headers={"authorization": "Bearer k"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_json_schema")
