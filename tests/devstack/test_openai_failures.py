"""The failures that the model stand-in simulates, and the requests it refuses."""

import base64
import json
import re
import struct
import uuid

import httpx
import openai
import pytest

from devstack.openai.directives import read
from tests.support.standin import eventually, follow_up, function, kinds, text_of


def test_a_refusal_is_sent_as_a_refusal_part(stream):
    events = stream("[[refusal]]")
    assert kinds(events)[-4:] == ["refusal.done", "content_part.done", "output_item.done", "completed"]
    part = events[-1].response.output[0].content[0]
    assert part.type == "refusal"
    assert part.refusal == "".join(event.delta for event in events if event.type == "response.refusal.delta")


def test_an_incomplete_answer_has_a_reason(stream):
    response = stream("[[incomplete deltas=3]]")[-1].response
    assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert response.output[0].status == "incomplete"
    assert stream("[[deltas=30]]", max_output_tokens=16)[-1].response.usage.output_tokens == 16


def test_a_failed_answer_ends_with_an_error(stream, client):
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
def test_http_errors_have_openais_format(client, directive, error, code):
    with pytest.raises(error) as raised:
        client.responses.create(model="m", input=f"[[{directive}]] hi", stream=True)
    assert raised.value.code == code
    assert set(raised.value.body) == {"message", "type", "param", "code"}
    assert raised.value.request_id.startswith("req_")
    assert raised.value.response.headers.get("retry-after") == ("1" if "retry_after" in directive else None)


def test_a_failure_can_be_limited_to_a_number_of_requests(client, stats):
    key = uuid.uuid4().hex
    before = stats()["requests"]
    patient = client.with_options(max_retries=3)
    response = patient.responses.create(model="m", input=f"[[fail_times=2 status=500 key={key}]] [[deltas=2]]")
    assert response.output_text == "1 2" and stats()["requests"] == before + 3


def test_a_connection_can_break_in_the_middle_of_a_stream(client, stats):
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
def test_a_disconnected_client_is_detected_at_once(client, stats, message):
    before = stats()
    stream = client.responses.create(model="m", input=message, stream=True)
    next(stream)
    assert stats()["open_streams"] == before["open_streams"] + 1
    stream.close()
    client.close()
    eventually(lambda: stats()["open_streams"] == before["open_streams"], 1)
    assert stats()["closed_early"] == before["closed_early"] + 1


def test_a_disconnected_client_is_detected_without_streaming_too(client, stats):
    before = stats()
    with pytest.raises(openai.APITimeoutError):
        client.responses.create(model="m", input="[[hang]]", timeout=0.3)
    eventually(lambda: stats()["closed_early"] == before["closed_early"] + 1, 1)


def test_a_stream_that_was_read_to_the_end_does_not_count_as_closed_early(stream, stats):
    before = stats()
    stream("[[deltas=5 delay=5ms]]")
    assert stats() == {**before, "requests": before["requests"] + 1, "responses": before["responses"] + 1}


def test_the_text_directive_is_answered_exactly(client):
    for text in ("  two  spaces\nand a line ", '{"a":[[1]]}', "[1]", "ünï ☃"):
        assert client.responses.create(model="m", input=f"[[text={text}]]").output_text == text


def test_the_echo_directives_answer_with_the_request(client):
    question = "[[tool=add]] [[echo_history]]"
    first = client.responses.create(model="m", input=question)
    items = [{"role": "developer", "content": "D"}, *follow_up(question, first, "3")]
    history = json.loads(client.responses.create(model="m", input=items, instructions="I").output_text)
    assert [(entry["role"], entry["text"]) for entry in history] == [
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
def test_brackets_without_directives_are_ordinary_text(text):
    directives = read(text)
    assert (directives.plain, directives.values, directives.calls) == (text, {}, [])


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
def test_invalid_input_is_a_400(url, body, param, code):
    answer = httpx.post(f"{url}/v1/responses", json=body, headers={"authorization": "Bearer k"})
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (400, "invalid_request_error")
    assert (error["param"], error["code"]) == (param, code)


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff"])
def test_malformed_json_is_a_400(url, raw):
    for path in ("responses", "embeddings"):
        answer = httpx.post(f"{url}/v1/{path}", content=raw, headers={"authorization": "Bearer k"})
        assert answer.status_code == 400 and "JSON" in answer.json()["error"]["message"]


def test_a_request_without_a_key_is_a_401(url):
    for headers in ({}, {"authorization": "Basic x"}, {"authorization": "Bearer"}):
        answer = httpx.get(f"{url}/v1/models", headers=headers)
        assert answer.status_code == 401 and set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_unknown_paths_and_models_are_a_404(url, client):
    answer = httpx.get(f"{url}/v1/nothing", headers={"authorization": "Bearer k"})
    assert answer.status_code == 404 and "Invalid URL" in answer.json()["error"]["message"]
    assert client.models.retrieve(client.models.list().data[0].id).object == "model"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nothing")


def test_similar_texts_have_similar_embeddings(client):
    texts = ["a cat sat on the mat", "the kitten sits on a rug", "interest rates and bond yields"]
    vectors = [entry.embedding for entry in client.embeddings.create(model="e", input=texts).data]
    assert {len(vector) for vector in vectors} == {256}

    def similarity(a, b):
        return sum(x * y for x, y in zip(a, b, strict=True))

    assert similarity(vectors[0], vectors[0]) == pytest.approx(1, abs=1e-4)
    assert similarity(vectors[0], vectors[1]) > similarity(vectors[0], vectors[2])


def test_embeddings_can_be_floats_or_base64_and_shorter(client):
    def ask(**more):
        return client.embeddings.create(model="e", input="hello", **more).data[0].embedding

    numbers, packed = ask(encoding_format="float"), base64.b64decode(ask(encoding_format="base64"))
    assert struct.unpack("<256f", packed) == pytest.approx(numbers)
    short = ask(dimensions=64)
    assert len(short) == 64 and sum(x * x for x in short) == pytest.approx(1, abs=1e-4)
    for wrong in ({"dimensions": 300}, {"input": ""}, {"input": []}, {"input": [1, 2]}):
        with pytest.raises(openai.BadRequestError):
            client.embeddings.create(**{"model": "e", "input": "x", **wrong})


def test_the_readme_lists_every_directive():
    from pathlib import Path

    from devstack.openai import directives

    names = set(directives._VALUES) | directives._FLAGS | directives._CALLS | {"text"}
    section = (Path(directives.__file__).parent / "README.md").read_text().split("## Directives")[1]
    assert not {name for name in names if not re.search(rf"\b{name}\b", section)}
