"""A chat over the Chat Completions wire, and over a chain whose first provider is down, with real processes."""

import uuid

import pytest


def asking(model):
    return {"run_options": {"run_config": {"model": model}}}


def text_of(events):
    return "".join(event["text_delta"] or "" for event in events)


def stored(live, run_id, conversation):
    """What is left of a run: its answer, its messages, and its recorded events without ids and times."""
    history = live.http.get(f"/api/v1/conversations/{conversation}").json()["messages"]
    recorded = live.http.get(f"/api/v1/conversations/{conversation}/events").json()["items"]
    fields = ("run_item_type", "tool_name", "agent", "call_arguments")
    return (
        [(message["role"], message["content"]) for message in history],
        [tuple(item[field] for field in fields) for item in recorded],
        live.run(run_id)["usage"]["output_tokens"],
    )


@pytest.mark.parametrize(
    "message",
    [
        "[[deltas=20 delay=5ms]] Count.",
        '[[tool=search_conversations {"query": "whales"}]] [[text=done]]',
        "[[handoff=code_assistant reasoning text=fixed]]",
        "[[refusal]]",
    ],
)
def test_the_same_chat_leaves_the_same_on_both_wires(live, message):
    left, before = [], live.provider()
    for model in ("gpt-5.1", "chat:gpt-5.1"):
        conversation = str(uuid.uuid4())
        with live.chat(message, conversation_id=conversation, **asking(model)) as (run_id, stream):
            events = [event for _, event in stream]
        assert events[-1]["is_terminal"] and events[-1]["response_text"].endswith(text_of(events)[-5:])
        left.append((text_of(events), *stored(live, run_id, conversation)))
    assert left[0] == left[1]
    after = live.provider()
    counts = [after[name] - before[name] for name in ("responses", "chat_completions")]
    assert counts[0] - counts[1] in (0, 1, 2) and counts[1] > 0  # a worker may have asked for the wire


def test_a_chat_that_waits_is_answered_over_the_chat_wire(live):
    answer = live.http.post("/api/v1/chat", json={"message": "What time is it?", **asking("chat:gpt-5.1")}).json()
    assert "UTC" in answer["response"] and answer["metadata"]["model_used"] == "chat:gpt-5.1"
    assert answer["metadata"]["usage"]["requests"] == 2


def test_a_cancel_closes_the_stream_on_the_chat_wire(live, wait_until):
    before = live.provider()
    with live.chat("[[hang]]", **asking("chat:gpt-5.1")) as (run_id, stream):
        wait_until(lambda: live.owner_of(run_id))
        wait_until(lambda: live.provider()["open_streams"] > before["open_streams"])
        live.http.post(f"/api/v1/runs/{run_id}/cancel")
        assert list(stream)[-1][1]["event"] == "cancelled"
    wait_until(lambda: live.provider()["closed_early"] > before["closed_early"], 1)


def test_a_chain_whose_first_provider_is_down_answers_and_says_so(live):
    with live.chat("[[text=still here]]", **asking("safe")) as (_, stream):
        events = [event for _, event in stream]
    (fallback,) = [event["payload"] for event in events if event["event"] == "model_fallback"]
    assert fallback == {"from": "down:any", "to": "chat:gpt-5.1", "code": "provider_unavailable"}
    assert text_of(events) == "still here"
    assert "model_fallbacks_total" in live.http.get("/metrics").text


def test_a_model_that_clients_may_not_ask_for_is_refused(live):
    answer = live.http.post("/api/v1/chat", json={"message": "hi", **asking("down:any")})
    assert answer.status_code == 422
