"""What is recorded of a turn for the conversation's events: the documented types, on both wires alike."""

import pytest

from tests.support.models import turn

DOCUMENTED = {
    "user_message",
    "assistant_message",
    "system_message",
    "tool_call",
    "tool_result",
    "mcp_call",
    "reasoning",
}
CALLS = '[[tool=get_current_time {}]][[tool=search_conversations {"query": "herons"}]]'


@pytest.mark.parametrize("wire", ["responses", "chat"])
def test_calls_and_their_results_share_an_id_and_reasoning_has_its_text(provider, configure, clean, wire):
    configure(openai_wire=wire)
    _, result = turn(f"[[reasoning]] {CALLS} hello")
    kinds = [item["type"] for item in result.items]
    assert set(kinds) <= DOCUMENTED
    assert (kinds[0], kinds[-1], kinds.count("tool_call"), kinds.count("tool_result")) == (
        "user_message",
        "assistant_message",
        2,
        2,
    )
    calls = {item["tool_call_id"]: item for item in result.items if item["type"] == "tool_call"}
    results = {item["tool_call_id"]: item for item in result.items if item["type"] == "tool_result"}
    assert calls.keys() == results.keys() and len(calls) == 2 and all(calls)
    assert {key: item["tool_name"] for key, item in calls.items()} == {
        key: item["tool_name"] for key, item in results.items()
    }
    assert [item["call_arguments"] for item in calls.values()] == [{}, {"query": "herons"}]
    assert all(item["call_output"] for item in results.values())
    assert next(item["reasoning_text"] for item in result.items if item["type"] == "reasoning")
