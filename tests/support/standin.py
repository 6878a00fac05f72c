"""Shared by the tests of the model stand-in: tools to offer, and helpers to read a response."""

import time

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


def kinds(events):
    return [event.type.removeprefix("response.") for event in events]


def text_of(events):
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


def follow_up(message, response, *outputs):
    """The input of the next turn: the message, the model's output, and the outputs of its tool calls."""
    items = [item.to_dict() for item in response.output]
    calls = [item for item in items if item["type"] == "function_call"]
    results = [
        {"type": "function_call_output", "call_id": call["call_id"], "output": output}
        for call, output in zip(calls, outputs, strict=True)
    ]
    return [{"role": "user", "content": message}, *items, *results]


def eventually(check, seconds=3.0):
    """Wait until `check()` is true; AssertionError after `seconds`."""
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end
        time.sleep(0.02)
