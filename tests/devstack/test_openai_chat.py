"""The model stand-in on the Chat Completions wire, requested with the real SDK over HTTP."""

import json
import time

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel, TypeAdapter

from devstack.openai.directives import QUIRKS
from tests.support.standin import TOOLS, eventually

CHAT_TOOLS = [
    {"type": "function", "function": {name: value for name, value in tool.items() if name != "type"}}
    for tool in TOOLS
    if tool["type"] == "function"
]


def user(message):
    return [{"role": "user", "content": message}]


@pytest.fixture
def ask(client):
    """ask(message or messages, ...) -> the completion."""

    def run(messages, **more):
        messages = user(messages) if isinstance(messages, str) else messages
        return client.chat.completions.create(model="gpt-5.1", messages=messages, **more)

    return run


@pytest.fixture
def chunks(ask):
    """chunks(message, ...) -> all chunks of a streamed completion."""
    return lambda messages, **more: list(ask(messages, stream=True, **more))


def text_of(chunks):
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def finish_of(chunks):
    return [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices and chunk.choices[0].finish_reason]


def calls_of(chunks):
    """{index: [name, arguments]}"""
    calls = {}
    for chunk in chunks:
        for delta in (chunk.choices[0].delta.tool_calls if chunk.choices else None) or ():
            call = calls.setdefault(delta.index, ["", ""])
            call[0] += delta.function.name or ""
            call[1] += delta.function.arguments or ""
    return calls


def test_a_text_is_streamed_as_the_real_service_does(chunks):
    seen = chunks("[[deltas=3]]", stream_options={"include_usage": True})
    assert seen[0].choices[0].delta.role == "assistant" and len(seen) == 6
    assert (text_of(seen), finish_of(seen)) == ("1 2 3", ["stop"])
    assert {(chunk.id, chunk.object, chunk.model) for chunk in seen} == {
        (seen[0].id, "chat.completion.chunk", "gpt-5.1")
    }
    usage = seen[-1].usage
    assert seen[-1].choices == [] and [chunk.usage for chunk in seen[:-1]] == [None] * 5
    assert usage.completion_tokens == 3 and usage.total_tokens == usage.prompt_tokens + 3
    assert not any(chunk.usage for chunk in chunks("[[deltas=3]]"))


@pytest.mark.parametrize(
    "message",
    ["Hello", "[[deltas=4]]", "[[refusal]]", "[[reasoning]] hi", '[[tool=anything {"a": 1}]]', "[[incomplete]]"],
)
def test_every_chunk_and_the_whole_answer_validate_against_the_types_of_the_sdk(url, message):
    def post(stream):
        body = {"model": "m", "messages": user(message), "stream": stream}
        return httpx.post(f"{url}/v1/chat/completions", headers={"authorization": "Bearer k"}, json=body)

    answer = post(True)
    frames = answer.text.strip().split("\n\n")
    assert answer.headers["content-type"].startswith("text/event-stream") and frames[-1] == "data: [DONE]"
    for frame in frames[:-1]:
        TypeAdapter(ChatCompletionChunk).validate_json(frame.removeprefix("data: "))
    TypeAdapter(ChatCompletion).validate_json(post(False).text)


def test_the_stream_helper_of_the_sdk_accumulates_the_answer(client):
    with client.chat.completions.stream(model="m", messages=user("[[deltas=5]]")) as running:
        list(running)
        final = running.get_final_completion()
    assert final.choices[0].message.content == "1 2 3 4 5"


def test_without_streaming_the_answer_is_one_object(ask):
    completion = ask("Hello there")
    choice = completion.choices[0]
    assert 'You said: "Hello there".' in choice.message.content and choice.finish_reason == "stop"
    assert completion.usage.completion_tokens > 0


def test_the_delay_is_between_deltas_and_not_before_the_first(ask):
    started, times = time.monotonic(), []
    for chunk in ask("[[deltas=3 delay=200ms]]", stream=True):
        if chunk.choices[0].delta.content:
            times.append(time.monotonic() - started)
    assert times[-1] - times[0] > 0.3


def test_a_tool_is_called_and_its_output_answered(chunks, ask):
    question = "What time is it?"
    assert calls_of(chunks(question, tools=CHAT_TOOLS)) == {0: ["get_current_time", "{}"]}
    message = ask(question, tools=CHAT_TOOLS).choices[0].message
    (call,) = message.tool_calls
    assert message.content is None
    history = [*user(question), message, {"role": "tool", "tool_call_id": call.id, "content": "noon"}]
    assert "It is noon." in ask(history, tools=CHAT_TOOLS).choices[0].message.content
    again = [*history, {"role": "assistant", "content": "noon"}, *user(question)]
    assert ask(again, tools=CHAT_TOOLS).choices[0].finish_reason == "tool_calls"


def test_several_tools_are_called_in_parallel(chunks, ask):
    arguments = '{"text": "a text that needs several pieces"}'
    message = f"[[tool=a {arguments}]] [[tool=b]]"
    assert calls_of(chunks(message)) == {0: ["a", arguments], 1: ["b", "{}"]}
    assert calls_of(chunks(f"{message} [[quirks=interleaved]]")) == {0: ["a", arguments], 1: ["b", "{}"]}
    ids = [call.id for call in ask(message).choices[0].message.tool_calls]
    assert len(set(ids)) == 2
    assert len(ask(message, parallel_tool_calls=False).choices[0].message.tool_calls) == 1


def test_tool_choice_is_obeyed(ask):
    def chosen(choice, message="Hi"):
        return ask(message, tools=CHAT_TOOLS, tool_choice=choice).choices[0].message.tool_calls

    assert chosen("none", "What time is it?") is None
    assert chosen("required")[0].function.name == "get_current_time"
    call = chosen({"type": "function", "function": {"name": "search_conversations"}})[0]
    assert json.loads(call.function.arguments) == {"query": "demo query"}


def test_reasoning_a_refusal_and_images(chunks, ask):
    seen = chunks("[[reasoning deltas=2]]")
    assert "".join(getattr(c.choices[0].delta, "reasoning_content", None) or "" for c in seen).startswith("The user")
    assert text_of(seen) == "1 2"
    assert ask("[[refusal]]").choices[0].message.refusal and not text_of(chunks("[[refusal]]"))
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    parts = [{"type": "text", "text": "[[text=seen]]"}, image]
    assert ask([{"role": "user", "content": parts}]).choices[0].message.content == "seen"


def test_the_answer_satisfies_the_json_schema(client):
    class City(BaseModel):
        name: str
        inhabitants: int

    completion = client.chat.completions.parse(model="m", messages=user("Hi"), response_format=City)
    assert isinstance(completion.choices[0].message.parsed, City)


def test_incomplete_answers_say_why(chunks):
    assert finish_of(chunks("[[incomplete deltas=3]]")) == ["length"]
    assert finish_of(chunks("[[content_filter deltas=3]]")) == ["content_filter"]
    seen = chunks("[[deltas=30]]", max_tokens=4)
    assert (text_of(seen), finish_of(seen)) == ("1 2 3 4 ", ["length"])


@pytest.mark.parametrize("directive", ["error_event deltas=2", "failed deltas=2"])
def test_an_error_in_the_middle_is_a_line_of_the_stream(ask, directive):
    seen = []
    with pytest.raises(openai.APIError) as failed:
        for chunk in ask(f"[[{directive}]]", stream=True):
            seen.append(chunk)
    assert text_of(seen) == "1 2" and failed.value.code == "server_error"
    with pytest.raises(openai.InternalServerError):
        ask(f"[[{directive}]]")


def test_a_connection_can_break_and_a_disconnected_client_is_detected(client, ask, stats):
    seen = []
    with pytest.raises((openai.APIConnectionError, httpx.HTTPError)):
        for chunk in ask("[[deltas=9 cut=5]]", stream=True):
            seen.append(chunk)
    assert text_of(seen) == "1 2 3 4 5 "
    before = stats()
    stream = ask("[[hang]]", stream=True)
    next(stream)
    stream.close()
    client.close()
    eventually(lambda: stats()["closed_early"] == before["closed_early"] + 1, 1)


@pytest.mark.parametrize(
    ("directive", "error", "code"),
    [
        ("status=429 retry_after=1", openai.RateLimitError, "rate_limit_exceeded"),
        ("status=404", openai.NotFoundError, "model_not_found"),
        ("status=503", openai.InternalServerError, None),
        ("context_overflow", openai.BadRequestError, "context_length_exceeded"),
    ],
)
def test_http_errors_have_openais_format(ask, directive, error, code):
    with pytest.raises(error) as raised:
        ask(f"[[{directive}]] hi", stream=True)
    assert raised.value.code == code


def test_requests_are_counted_per_wire(ask, client, stats):
    before = stats()
    ask("[[deltas=1]]")
    client.responses.create(model="m", input="[[deltas=1]]")
    counted = {name: stats()[name] - before[name] for name in ("requests", "responses", "chat_completions")}
    assert counted == {"requests": 2, "responses": 1, "chat_completions": 1}


CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": user("x")}, "model"),
        ({"model": "m"}, "messages"),
        ({"model": "m", "messages": "x"}, "messages"),
        ({"model": "m", "messages": [{"role": "robot", "content": "x"}]}, "messages.[0].role"),
        ({"model": "m", "messages": [{"role": "user"}]}, "messages.[0].content"),
        ({"model": "m", "messages": [{"role": "user", "content": [{"type": "x"}]}]}, "messages.[0].content.[0].type"),
        ({"model": "m", "messages": [{"role": "tool", "tool_call_id": "c", "content": "x"}]}, "messages.[0].role"),
        ({"model": "m", "messages": [{"role": "assistant", "tool_calls": [CALL]}, *user("x")]}, "messages.[1].role"),
        ({"model": "m", "messages": [{"role": "assistant", "tool_calls": [CALL]}]}, "messages.[0].role"),
        ({"model": "m", "messages": user("x"), "tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"model": "m", "messages": user("x"), "tools": [{"type": "function", "name": "f"}]}, "tools[0].function"),
        ({"model": "m", "messages": user("x"), "stream_options": {"include_usage": True}}, "stream_options"),
        ({"model": "m", "messages": user("x"), "max_tokens": 0}, "max_tokens"),
        ({"model": "m", "messages": user("x"), "response_format": {"type": "xml"}}, "response_format.type"),
        (
            {"model": "m", "messages": user("x"), "response_format": {"type": "json_schema"}},
            "response_format.json_schema",
        ),
    ],
)
def test_invalid_input_is_a_400(url, body, param):
    answer = httpx.post(f"{url}/v1/chat/completions", json=body, headers={"authorization": "Bearer k"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def raw_lines(url, message, **more):
    body = {"model": "m", "messages": user(message), "stream": True, "stream_options": {"include_usage": True}, **more}
    answer = httpx.post(f"{url}/v1/chat/completions", json=body, headers={"authorization": "Bearer k"})
    return answer, [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]


def test_the_quirks_are_those_of_compatible_servers(url):
    calls = '[[tool=a {"x": 1}]] [[tool=b {"y": 2}]]'

    def deltas(quirks):
        _, lines = raw_lines(url, f"{calls} [[quirks={quirks}]]")
        choices = [choice for line in lines for choice in line["choices"]]
        return [call for choice in choices for call in choice["delta"].get("tool_calls", ())]

    assert not any("index" in call for call in deltas("no_index"))
    assert not any("id" in call for call in deltas("no_call_ids"))
    assert {call["index"] for call in deltas("zero_index")} == {0}
    assert [call["function"]["arguments"] for call in deltas("whole_calls")] == ['{"x": 1}', '{"y": 2}']
    assert [call["id"] for call in deltas("whole_calls,same_call_ids")] == ["call_0", "call_1"]
    answer, lines = raw_lines(url, "[[deltas=2 quirks=no_id,no_usage,no_done,keep_alive,empty_choices,no_finish]]")
    assert answer.text.count(": keep-alive") >= 3 and "[DONE]" not in answer.text
    assert lines[0]["choices"] == [] and not any("id" in line or "usage" in line for line in lines)
    assert not any(choice["finish_reason"] for line in lines for choice in line["choices"])
    _, lines = raw_lines(url, "[[deltas=2 quirks=usage_each]]")
    assert all(line["usage"] for line in lines)
    answer, _ = raw_lines(url, "[[deltas=2 quirks=no_stream]]")
    assert answer.json()["choices"][0]["message"]["content"] == "1 2"
    for quirk, field in (("reasoning_field", '"reasoning":"The'), ("thinking_parts", '"type":"thinking"')):
        assert field in raw_lines(url, f"[[reasoning deltas=1 quirks={quirk}]]")[0].text
    assert '"finish_reason":"stop"' in raw_lines(url, f"{calls} [[quirks=stop_for_calls]]")[0].text


def test_the_readme_lists_every_quirk():
    from pathlib import Path

    from devstack.openai import directives

    text = (Path(directives.__file__).parent / "README.md").read_text()
    assert not {name for name in QUIRKS if f"`{name}`" not in text}
