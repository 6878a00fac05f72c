"""What a model is given of a long conversation: how it is chosen, and that the chat goes on."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.models import function_tools, turn
from workers.agents import memory
from workers.agents.catalog import Agent, Catalog
from workers.agents.memory import CUT, REMOVED, estimate, fit
from workers.agents.providers.errors import ProviderError

TEXT = st.text(alphabet="ab 鷺é", max_size=60)


def message(role, content):
    return {"role": role, "content": content}


def call(number, output):
    call_id = f"c{number}"
    return [
        {"type": "function_call", "call_id": call_id, "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": call_id, "output": output},
    ]


@pytest.mark.parametrize(
    ("value", "tokens"),
    [
        ("", 0),
        ("word", 1),
        ("a" * 4000, 1000),
        ("鷺" * 10, 10),
        ("Käse", 1),
        (message("user", "a" * 40), 4 + 1 + 10),
        ({"type": "input_image", "image_url": "data:" + "x" * 10**6}, 1000),
        ([5, None, ["word"]], 3),
    ],
)
def test_tokens_are_estimated(value, tokens):
    assert estimate(value) == tokens


TURNS = st.lists(st.tuples(TEXT, st.lists(TEXT, max_size=2)), max_size=6)


@given(
    turns=TURNS, question=TEXT, outputs=st.lists(TEXT, max_size=4), budget=st.integers(-50, 500), known=st.booleans()
)
def test_the_newest_turns_that_fit_are_kept_whole_and_the_question_always(turns, question, outputs, budget, known):
    history = [
        item
        for asked, answers in turns
        for item in [message("user", asked), *[message("assistant", a) for a in answers]]
    ]
    now = [message("user", question), *[item for n, output in enumerate(outputs) for item in call(n, output)]]
    summary = memory.with_summary("It was about herons.", []) if known else []
    items = [*summary, *history, *now]
    fitted, trimmed = fit(items, budget)
    rest = fitted[len(summary) :]
    kept = rest[: len(rest) - len(now)]
    assert fitted[: len(summary)] == summary
    assert kept == history[len(history) - len(kept) :], "the newest, in order"
    assert not kept or kept[0]["role"] == "user", "whole turns"
    assert rest[len(kept)] == now[0], "the question"
    assert [item.get("call_id") for item in rest[len(kept) :]] == [item.get("call_id") for item in now]
    size = sum(map(estimate, fitted))
    if trimmed is None:
        assert fitted == items
    else:
        assert (trimmed.dropped, trimmed.tokens) == (len(history) - len(kept), size)
        assert trimmed.dropped or trimmed.outputs
    if kept:
        assert size <= budget
    if size > budget:  # whatever could go has gone
        longest = max(estimate(REMOVED), estimate(CUT))
        assert all(estimate(item["output"]) <= longest for item in rest if "output" in item)


def test_no_more_is_left_out_than_has_to_be():
    turns = [item for n in range(10) for item in (message("user", "q" * 400), message("assistant", f"{n}" * 400))]
    items = [*turns, message("user", "now")]
    room = sum(map(estimate, items[-5:]))
    assert fit(items, room)[0] == items[-5:]
    assert fit(items, room - 1)[0] == items[-3:]


def test_old_outputs_are_removed_before_the_newest_are_cut():
    items = [message("user", "now"), *call(1, "a" * 4000), *call(2, "b" * 4000), *call(3, "c" * 4000)]
    fitted, trimmed = fit(items, 2200)
    assert [item["output"] == REMOVED for item in fitted if "output" in item] == [True, False, False]
    assert trimmed.outputs == 1
    fitted, trimmed = fit(items, 600)
    outputs = [item["output"] for item in fitted if "output" in item]
    assert outputs[:2] == [REMOVED, REMOVED] and outputs[2].startswith("ccc") and outputs[2].endswith(CUT)
    assert 500 < trimmed.tokens <= 600


def test_small_outputs_of_a_response_stay_whole_and_large_ones_share_the_rest():
    parallel = [item for n, text in enumerate(("a" * 40, "b" * 8000, "c" * 8000)) for item in call(n, text)]
    items = [message("user", "now"), *sorted(parallel, key=lambda item: item["type"] == "function_call_output")]
    fitted, _ = fit(items, 1500)
    outputs = [item["output"] for item in fitted if "output" in item]
    assert outputs[0] == "a" * 40
    assert abs(len(outputs[1]) - len(outputs[2])) < 100 and len(outputs[1]) > 2000


# ------------------------------------------------------------- in the agent loop

HISTORY = [message(role, f"{n} {'word ' * 200}") for n in range(20) for role in ("user", "assistant")]


def lifecycle(events, label):
    return [event["payload"] for event in events if event["event"] == label]


@pytest.fixture(params=["responses", "chat"])
def wire(request, provider, configure):
    configure(openai_wire=request.param)
    return request.param


def said(result):
    """What the model was given of the conversation, as it echoes it."""
    return [entry for entry in json.loads(result.response_text) if entry["role"] != "system"]


def test_the_model_is_given_what_fits_and_the_client_is_told(wire, configure):
    configure(agent_context_tokens=3000)
    events, result = turn("[[echo_history]]", history=HISTORY)
    given_to_model = said(result)
    assert 2 < len(given_to_model) < len(HISTORY)
    assert [entry["text"] for entry in given_to_model[:-1]] == [
        m["content"] for m in HISTORY[1 - len(given_to_model) :]
    ]
    [trimmed] = lifecycle(events, "context_trimmed")
    assert trimmed["messages_dropped"] + trimmed["messages_kept"] == len(HISTORY) + 1
    assert trimmed["messages_kept"] == len(given_to_model)
    assert trimmed["estimated_tokens"] <= trimmed["budget"] == 3000


def test_nothing_is_said_if_everything_fits(provider):
    events, _ = turn("Hello", history=HISTORY)
    assert lifecycle(events, "context_trimmed") == []


def test_the_budget_is_that_of_the_model_or_of_the_smallest_in_its_chain(provider, models_file, configure):
    models_file(f"""
        [providers.small]
        base_url = "{provider}"
        context_tokens = 3000
        [providers.large]
        base_url = "{provider}"
        [aliases]
        safe = ["large:one", "small:two"]
        [context_tokens]
        "large:three" = 2000
        "gpt-5.1" = 4000
    """)
    configure(agent_context_tokens=90_000)
    expected = {"small:x": 3000, "large:x": 90_000, "safe": 3000, "large:three": 2000, "gpt-5.1": 4000, "other": 90_000}
    assert {name: memory.budget_of(name) for name in expected} == expected


def test_a_budget_of_an_unknown_model_keeps_the_processes_from_starting(models_file):
    from workers.agents.providers.models_file import models

    models_file('[context_tokens]\n"nowhere:model" = 3000')
    assert list(models().faults()) == ["context_tokens: 'nowhere:model' names no provider of the models file"]


def test_a_conversation_that_the_provider_finds_too_long_is_halved_once(wire):
    events, result = turn(f"[[context_overflow times=1 key=half-{wire}]] [[echo_history]]", history=HISTORY)
    [trimmed] = lifecycle(events, "context_trimmed")
    assert len(said(result)) == trimmed["messages_kept"] < len(HISTORY)
    assert lifecycle(events, "llm_start") == [None, None]


def test_a_conversation_that_is_still_too_long_has_failed(wire):
    with pytest.raises(ProviderError) as failed:
        turn("[[context_overflow]] hello", history=HISTORY)
    assert failed.value.code == "context_length_exceeded"
    assert len(lifecycle(failed.value.events, "llm_start")) == 2


def test_a_question_that_is_too_long_alone_is_not_asked_again(wire):
    with pytest.raises(ProviderError) as failed:
        turn("[[context_overflow]] hello")
    assert len(lifecycle(failed.value.events, "llm_start")) == 1


def test_outputs_of_tools_count_within_a_turn(wire, configure):
    configure(agent_context_tokens=3000)
    sizes = iter([5000, 6000, 7000])
    agent = Agent("reader", "Reader", "Reads.", "Read.", tools=("read",))
    tools = function_tools(read=lambda context: "x" * next(sizes))
    calls = "[[tool=read {}]]"
    events, result = turn(f"{calls}{calls}{calls} [[echo_history]]", agent="reader", agents=Catalog([agent], tools))
    outputs = [entry["text"] for entry in json.loads(result.response_text) if entry["role"] == "tool"]
    assert len(outputs) == 3 and sum(map(len, outputs)) < 12_000
    [trimmed] = lifecycle(events, "context_trimmed")
    assert trimmed["tool_outputs_cut"] >= 1 and trimmed["messages_dropped"] == 0
    recorded = [len(item["call_output"]["value"]) for item in result.items if item["type"] == "tool_result"]
    assert recorded == [5000, 6000, 7000], "what is stored is whole"
