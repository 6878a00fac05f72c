"""The same conversation by chat, by chat/stream, and as a workflow by run and by run-stream, over both wires."""

import json
import uuid

import pytest

from tests.flows.conftest import frames

SCRIPT = (
    '[[tool=leave_trace {"seconds": 0}]] [[text=The trace is left.]]',
    "[[reasoning text=I have thought.]]",
    '[[tool=leave_trace {"seconds": 0} tool=leave_trace {"seconds": 0.01}]] [[deltas=30]]',
    "[[refusal]]",
)


def chat(http, agent, body):
    return http.post("/api/v1/chat", json={**body, "agent_type": agent}).json()["response"]


def chat_stream(http, agent, body):
    return streamed(http, "/api/v1/chat/stream", {**body, "agent_type": agent})


def run(http, agent, body):
    return http.post(f"/api/v1/workflows/{agent}/run", json=body).json()["final_output"]


def run_stream(http, agent, body):
    return streamed(http, f"/api/v1/workflows/{agent}/run-stream", body)


def streamed(http, path, body):
    with http.stream("POST", path, json=body) as response:
        *_, (_, last) = frames(response.iter_lines())
    assert last["is_terminal"]
    return last["response_text"]


def stored(live, conversation):
    """The messages and run events of a conversation, without ids, times and names of models and agents."""
    of_event = ("run_item_type", "role", "tool_name", "content_text", "reasoning_text", "call_arguments", "call_output")
    messages = live.http.get(f"/api/v1/conversations/{conversation}").json()["messages"]
    events = live.http.get(f"/api/v1/conversations/{conversation}/events").json()["items"]
    calls = [
        [event["tool_call_id"] for event in events if event["run_item_type"] == kind]
        for kind in ("tool_call", "tool_result")
    ]
    assert sorted(calls[0]) == sorted(calls[1]), "a call and its result have one id"
    tokens = live.sql(
        "select sum((usage->>'output_tokens')::int) from run where conversation_key = %s and state = 'succeeded'",
        conversation,
    )
    return (
        [(message["role"], message["content"]) for message in messages],
        [tuple(json.dumps(event[name]) for name in of_event) for event in events],
        tokens,
    )


@pytest.fixture(scope="module")
def reference(live_stack):
    return play(live_stack, chat, "solo")


def play(live, ask, agent):
    """(answers, what is stored, what the model is given after it) of the whole conversation."""
    conversation = str(uuid.uuid4())

    def say(message):
        return ask(live.http, agent, {"message": message, "conversation_id": conversation})

    answers, left = [say(message) for message in SCRIPT], stored(live, conversation)
    seen = [item for item in json.loads(say("[[echo_history]]")) if item["role"] != "system"]  # the chat wire's prompt
    return answers, left, seen


@pytest.mark.parametrize("agent", ["solo", "solo_chat"])
@pytest.mark.parametrize("ask", [chat, chat_stream, run, run_stream])
def test_the_same_conversation_leaves_the_same_whichever_way_it_goes(live, reference, ask, agent):
    answers, left, seen = play(live, ask, agent)
    assert answers == reference[0] and len(set(answers)) == len(SCRIPT)
    assert left == reference[1] and seen == reference[2]
    assert len(left[0]) == 2 * len(SCRIPT) == len(seen) - 1 and len(left[1]) > 3 * len(SCRIPT)
