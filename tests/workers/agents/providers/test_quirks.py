"""Servers that speak Chat Completions in their own way."""

import json
from contextlib import nullcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.models import function_tools, turn
from workers.agents.catalog import Agent, Catalog
from workers.agents.providers import chat_completions, client
from workers.agents.providers.chat_calls import Calls
from workers.agents.providers.chat_events import ChatEvents
from workers.agents.providers.errors import ProviderError
from workers.agents.providers.models_file import Provider, Target

ARGUMENTS = '{"text": "an argument that is long enough for several pieces"}'
PARALLEL = f"[[tool=echo {ARGUMENTS}]] [[tool=echo]] [[tool=add]]"


@pytest.fixture
def ask(provider, configure):
    """ask(message) -> (events, result) on the chat wire."""
    configure(openai_wire="chat")
    tools = function_tools(add=lambda context: "3", echo=lambda context, **values: json.dumps(values))
    agents = Catalog([Agent("a", "A", "d", "p", tools=("add", "echo"))], tools)
    return lambda message: turn(message, "a", agents)


def text_of(events, field="text_delta"):
    return "".join(event[field] or "" for event in events)


@pytest.mark.parametrize(
    "quirks",
    [
        "interleaved",
        "no_index,whole_calls",
        "no_index",
        "no_call_ids",
        "no_index,no_call_ids",
        "zero_index,whole_calls",
        "zero_index",
        "whole_calls",
        "whole_calls,stop_for_calls",
        "same_call_ids",
        "no_id,no_usage,no_done,keep_alive,empty_choices",
        "no_finish",
        "no_stream",
        "usage_each",
    ],
)
def test_parallel_calls_are_told_apart(ask, quirks):
    events, result = ask(f"{PARALLEL} [[quirks={quirks}]]")
    calls = [(item["name"], item["call_arguments"]) for item in result.items if item["type"] == "tool_call"]
    assert calls == [("echo", json.loads(ARGUMENTS)), ("echo", {}), ("add", {})]
    called = [event["tool_call_id"] for event in events if event["run_item_name"] == "tool_called"]
    outputs = [event["tool_call_id"] for event in events if event["run_item_name"] == "tool_output"]
    assert called == outputs and len(set(called)) == 3 and all(called)
    assert result.response_text


@pytest.mark.parametrize(
    "quirks", ["no_id", "no_usage", "no_done", "no_finish", "keep_alive", "empty_choices", "usage_each", "no_stream"]
)
def test_a_text_is_complete(ask, quirks):
    events, result = ask(f"[[deltas=5 quirks={quirks}]]")
    assert text_of(events) == result.response_text == "1 2 3 4 5" and result.response_id
    assert result.usage["output_tokens"] == (0 if quirks == "no_usage" else 5)


def test_a_stream_without_a_reason_and_an_end_was_cut(ask):
    with pytest.raises(ProviderError) as broken:
        ask("[[deltas=5 quirks=no_finish,no_done]]")
    assert broken.value.code == "provider_unavailable"


def test_ids_that_an_earlier_response_had_are_replaced():
    calls = Calls({"call_0"})
    first = calls.begin({"index": 0, "id": "call_0", "function": {"name": "f"}}, 0)
    second = calls.begin({"index": 1, "id": "call_1", "function": {"name": "f"}}, 1)
    assert first.call_id != "call_0" and second.call_id == "call_1"


@pytest.mark.parametrize("quirks", ["keep_alive", "reasoning_field", "thinking_parts"])
def test_reasoning_is_streamed_under_every_name(ask, quirks):
    events, result = ask(f"[[reasoning deltas=2 quirks={quirks}]]")
    assert text_of(events, "reasoning_delta").startswith("The user asks") and text_of(events) == "1 2"
    (item,) = [item for item in result.items if item["type"] == "reasoning"]
    assert item["reasoning_text"] == text_of(events, "reasoning_delta")


def test_an_error_in_a_body_with_status_200_is_an_error(ask):
    with pytest.raises(ProviderError) as failed:
        ask("[[error_event quirks=no_stream]]")
    assert failed.value.code == "provider_failed"


def of(*chunks):
    answer = ChatEvents("m")
    return [event for chunk in chunks for event in answer.of(chunk)] + list(answer.end())


def delta(finish_reason=None, **fields):
    return {"id": "c", "choices": [{"index": 0, "delta": fields, "finish_reason": finish_reason}]}


def output_of(events):
    return events[-1]["response"]["output"]


def test_texts_thoughts_and_calls_may_follow_each_other_in_any_order():
    call = {"index": 0, "id": "x", "function": {"name": "f", "arguments": "{}"}}
    events = of(
        delta(reasoning_content="think "),
        delta(content="say "),
        delta(reasoning="think again"),
        delta(tool_calls=[call]),
        delta(content="more"),
        delta(finish_reason="tool_calls"),
    )
    assert [item["type"] for item in output_of(events)] == [
        "reasoning",
        "message",
        "reasoning",
        "function_call",
        "message",
    ]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


def test_a_server_that_sends_both_names_of_its_reasoning_thinks_once():
    events = of(delta(reasoning="hm", reasoning_content="hm"), delta(content="a"))
    assert output_of(events)[0]["summary"][0]["text"] == "hm"


@given(st.data())
def test_calls_are_complete_however_their_deltas_are_mixed(data):
    texts = data.draw(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=5))
    whole = [json.dumps({"text": text}) for text in texts]
    waiting = {}
    for index, arguments in enumerate(whole):
        cut = data.draw(st.integers(0, len(arguments)))
        begin = {"index": index, "id": f"id-{index}", "function": {"name": f"f{index}", "arguments": ""}}
        pieces = [{"index": index, "function": {"arguments": piece}} for piece in (arguments[:cut], arguments[cut:])]
        waiting[index] = [begin, *pieces]
    chunks = []
    while waiting:
        index = data.draw(st.sampled_from(sorted(waiting)))
        chunks.append(delta(tool_calls=[waiting[index].pop(0)]))
        if not waiting[index]:
            del waiting[index]
    output = output_of(of(*chunks))
    assert sorted((item["call_id"], item["name"], item["arguments"]) for item in output) == [
        (f"id-{index}", f"f{index}", arguments) for index, arguments in enumerate(whole)
    ]


def test_a_message_beside_the_deltas_is_not_repeated():
    last = {"choices": [{"index": 0, "delta": {}, "message": {"content": "ab"}, "finish_reason": "stop"}]}
    assert output_of(of(delta(content="a"), delta(content="b"), last))[0]["content"][0]["text"] == "ab"


def test_a_name_that_is_repeated_in_every_delta_is_one_call():
    pieces = [{"index": 0, "id": "x", "function": {"name": "f", "arguments": piece}} for piece in ('{"a"', ": 1}")]
    (item,) = output_of(of(*[delta(tool_calls=[piece]) for piece in pieces]))
    assert (item["name"], item["arguments"], item["call_id"]) == ("f", '{"a": 1}', "x")


def test_arguments_that_are_an_object_are_written_as_json():
    (item,) = output_of(of(delta(tool_calls=[{"id": "x", "function": {"name": "f", "arguments": {"a": 1}}}])))
    assert json.loads(item["arguments"]) == {"a": 1}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ({"code": "server_error", "message": "x"}, "provider_failed"),
        ({"code": 429, "message": "slow down"}, "provider_rate_limited"),
        ({"code": "502", "message": "bad gateway"}, "provider_unavailable"),
        ({"code": 400, "message": "This model's maximum context length is 8192"}, "context_length_exceeded"),
        ("no such thing", "provider_failed"),
        ({"code": ["odd"]}, "provider_failed"),
    ],
)
def test_an_error_in_the_middle_has_one_of_our_codes(error, code):
    with pytest.raises(ProviderError) as failed:
        of(delta(content="a"), {"error": error})
    assert failed.value.code == code


def test_an_answer_that_ended_with_an_error_failed():
    with pytest.raises(ProviderError) as failed:
        of(delta(content="a"), delta(finish_reason="error"))
    assert failed.value.code == "provider_failed"


@pytest.fixture
def stream(monkeypatch):
    """stream(chunks) -> the events. A chunk that is an error is raised."""

    def run(chunks):
        def answer(provider, path, body, wait):
            for chunk in chunks:
                if isinstance(chunk, Exception):
                    raise chunk
                yield chunk

        monkeypatch.setattr(client, "stream", answer)
        target = Target(Provider(name="local"), "m")
        return list(chat_completions.stream(target, {"input": [{"role": "user", "content": "hi"}]}, nullcontext))

    return run


BROKEN = ProviderError("provider_unavailable")
FINISHED = delta(finish_reason="stop")


@pytest.mark.parametrize(
    "chunk",
    [
        {"choices": [5]},
        {"choices": {"a": 1}},
        {"choices": [{"delta": "x"}]},
        ["list"],
        7,
        delta(content=5),
        delta(content=[{"type": "text"}]),
        delta(reasoning={"a": 1}),
        delta(tool_calls=[{"index": 0, "function": "f"}]),
    ],
)
def test_chunks_that_make_no_sense_fail_the_answer_and_not_the_worker(stream, chunk):
    with pytest.raises(ProviderError) as failed:
        stream([delta(content="a"), chunk, FINISHED, client.DONE])
    assert failed.value.code == "provider_failed"


@pytest.mark.parametrize("last", [[BROKEN], [client.DONE, BROKEN], [client.DONE, delta(content="late")], []])
def test_a_finished_answer_is_complete_whatever_comes_after_it(stream, last):
    events = stream([delta(content="a"), FINISHED, *last])
    assert [event["type"] for event in events].count("response.completed") == 1
    assert output_of(events)[0]["content"][0]["text"] == "a"


@pytest.mark.parametrize("last", [[client.DONE], [BROKEN], []])
def test_an_answer_that_finished_with_an_error_failed_whatever_comes_after_it(stream, last):
    with pytest.raises(ProviderError):
        stream([delta(content="a"), delta(finish_reason="error"), *last])


def test_a_broken_answer_is_not_complete(stream):
    with pytest.raises(ProviderError) as broken:
        stream([delta(content="a"), BROKEN])
    assert broken.value is BROKEN
