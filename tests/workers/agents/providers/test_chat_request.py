"""Requests of the Responses wire, written for the Chat Completions wire."""

import logging

import pytest

from workers.agents.providers import chat_request as module
from workers.agents.providers.chat_request import chat_request, messages
from workers.agents.providers.errors import ProviderError
from workers.agents.providers.models_file import Provider

PROVIDER = Provider(name="local")
CALLS = [
    {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
    {"type": "function_call", "call_id": "b", "name": "g", "arguments": '{"x": 1}'},
]
OUTPUTS = [{"type": "function_call_output", "call_id": call["call_id"], "output": "3"} for call in CALLS]
QUESTION = {"role": "user", "content": "hi"}
REASONING = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]}


def test_the_calls_of_one_response_are_one_message_and_their_outputs_follow():
    found = messages([QUESTION, {"role": "assistant", "content": "I look."}, *CALLS, *OUTPUTS], "Be kind.")
    assert [message["role"] for message in found] == ["system", "user", "assistant", "tool", "tool"]
    assert found[2]["content"] == "I look."
    assert [call["id"] for call in found[2]["tool_calls"]] == ["a", "b"]
    assert found[2]["tool_calls"][1]["function"] == {"name": "g", "arguments": '{"x": 1}'}
    assert found[3] == {"role": "tool", "tool_call_id": "a", "content": "3"}


def test_calls_of_two_responses_are_two_messages():
    found = messages([QUESTION, CALLS[0], OUTPUTS[0], CALLS[1], OUTPUTS[1]], None)
    assert [message["role"] for message in found] == ["user", "assistant", "tool", "assistant", "tool"]
    assert found[1]["content"] is None


@pytest.mark.parametrize(("wanted", "field"), [(True, "hm"), (False, None)])
def test_reasoning_goes_back_with_its_calls_only_to_servers_that_want_it(wanted, field):
    found = messages([QUESTION, REASONING, *CALLS, *OUTPUTS], None, wanted)
    assert found[1].get("reasoning_content") == field and len(found[1]["tool_calls"]) == 2


def test_images_and_files_are_sent_as_parts():
    parts = [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "low"},
        {"type": "input_file", "file_data": "data:application/pdf;base64,AA", "filename": "a.pdf"},
    ]
    (message,) = messages([{"role": "user", "content": parts}], None)
    assert message["content"] == [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA", "detail": "low"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA", "filename": "a.pdf"}},
    ]


def test_structured_output_and_limits_have_other_names():
    form = {"type": "json_schema", "name": "answer", "strict": True, "schema": {"type": "object"}}
    request = {"model": "m", "input": [QUESTION], "text": {"format": form}, "max_output_tokens": 50, "store": False}
    more = {"previous_response_id": "resp_1", "include": ["code_interpreter_call.outputs"], "temperature": 1}
    body = chat_request({**request, **more}, PROVIDER)
    assert body["response_format"]["json_schema"] == {"name": "answer", "strict": True, "schema": {"type": "object"}}
    assert set(body) == {
        "model",
        "messages",
        "temperature",
        "max_tokens",
        "response_format",
        "stream",
        "stream_options",
    }
    newer = Provider(name="newer", token_limit="max_completion_tokens")
    assert chat_request(request, newer)["max_completion_tokens"] == 50


def test_an_optional_hosted_tool_is_dropped_with_one_warning(caplog, monkeypatch):
    monkeypatch.setattr(module, "_warned", set())
    function = {"type": "function", "name": "f", "description": "d", "parameters": {}, "strict": True}
    request = {"model": "m", "input": [QUESTION], "tools": [{"type": "web_search", "optional": True}, function]}
    with caplog.at_level(logging.WARNING):
        bodies = [chat_request(request, PROVIDER) for _ in range(3)]
    assert [tool["function"]["name"] for tool in bodies[0]["tools"]] == ["f"]
    assert [(record.message, record.tool) for record in caplog.records] == [("model.tool_dropped", "web_search")]


def test_an_agent_that_cannot_do_without_a_hosted_tool_is_refused_and_another_provider_may_have_it():
    request = {"model": "m", "input": [QUESTION], "tools": [{"type": "code_interpreter"}]}
    with pytest.raises(ProviderError) as refused:
        chat_request(request, PROVIDER)
    assert (refused.value.code, refused.value.is_curable) == ("tools_unavailable", True)
