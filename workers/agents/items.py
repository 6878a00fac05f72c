"""The items of a model's answer (messages, calls, reasoning): what they say, and how they are passed on."""

import json
from typing import Any

from models.platform.json import storable_json

Item = dict[str, Any]
MAX_DEPTH = 64  # of JSON that is kept as JSON; encoders and Postgres have limits of their own


def text_of(output: list[Item]) -> str:
    """The text of all messages."""
    return _join_parts(output, "output_text", "text")


def said(message: Item) -> str:
    """The text of a message of the input, in which images are named."""
    content = message["content"]
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text") or f"[image: {part.get('filename', '')}]" for part in content)


def refusal_of(output: list[Item]) -> str:
    """The text with which the model refused to answer, or ""."""
    return _join_parts(output, "refusal", "refusal")


def reasoning_of(item: Item) -> str:
    """What a reasoning item says: its summary, or all of it where there is none."""
    return "\n".join(part.get("text", "") for part in item.get("summary") or item.get("content") or ())


def _join_parts(output: list[Item], part_type: str, key: str) -> str:
    parts = [part for item in output if item["type"] == "message" for part in item["content"]]
    return "".join(part[key] for part in parts if part["type"] == part_type)


def as_input(item: Item) -> Item | None:
    """An output item as input of the next request. None if it cannot be sent back.

    The provider stores nothing, so items go back without their ids.
    """
    if item["type"] == "function_call":
        return {key: item[key] for key in ("type", "call_id", "name", "arguments")}
    if item["type"] == "message":
        return {"role": "assistant", "content": text_of([item]) or refusal_of([item])}
    if item["type"] == "mcp_approval_request":
        return {key: item[key] for key in ("type", "id", "name", "arguments", "server_label")}
    if item["type"] == "reasoning":
        return {
            key: item[key] for key in ("type", "summary", "content", "encrypted_content") if item.get(key) is not None
        }
    return None


def output_of(call: Item, output: str) -> Item:
    """The output of a function call as input of the next request."""
    return {"type": "function_call_output", "call_id": call["call_id"], "output": output}


def mcp_answer(request: Item, approve: bool, reason: str | None) -> Item:
    """The answer to a hosted MCP server that asked whether it may make a call."""
    answer = {"type": "mcp_approval_response", "approval_request_id": request["id"], "approve": approve}
    return {**answer, "reason": reason} if reason else answer


def history_after_handoff(items: list[Item], policy: str) -> list[Item]:
    """The input that an agent gets after a handoff. `policy`: full, fresh, last_turn or remove_all_tools."""
    if policy == "fresh":
        questions = [item for item in items if item.get("role") == "user"]
        return questions[-1:]
    messages = [item for item in items if item.get("role") in ("user", "assistant")]
    if policy == "last_turn":
        return messages[-2:]
    return messages if policy == "remove_all_tools" else items


def without_image(item: Item) -> Item:
    """The item without the base64 text of an image, which is too large for events and records."""
    kind = item.get("type")
    if kind == "image_generation_call":
        return {**item, "result": None}
    if kind == "code_interpreter_call" and item.get("outputs"):
        return {**item, "outputs": [_without_data(output) for output in item["outputs"]]}
    return item


def _without_data(output: Item) -> Item:
    return {**output, "url": None} if str(output.get("url")).startswith("data:") else output


def annotations_of(output: list[Item]) -> list[Item]:
    """The provider's own annotations of all messages, such as pages of a web search. Places count from the text's beginning."""
    found, offset = [], 0
    for part in (part for item in output if item["type"] == "message" for part in item["content"]):
        if part["type"] == "output_text":
            places = ("start_index", "end_index", "index")
            for annotation in part.get("annotations") or ():
                moved = {name: annotation[name] + offset for name in places if isinstance(annotation.get(name), int)}
                found.append({**annotation, **moved})
            offset += len(part["text"])
    return found


def as_object(text: str) -> dict[str, Any] | None:
    """A JSON object as it is, any other text or JSON as {"value": ...}, and "" as None."""
    if not text:
        return None
    try:
        value = json.loads(storable_json(text))
    except (ValueError, RecursionError):
        value = text
    if is_too_deep(text, value):
        value = text
    return value if isinstance(value, dict) else {"value": value}


def is_too_deep(text: str, value: Any) -> bool:
    """Whether this JSON, which says `value`, has more than MAX_DEPTH levels."""
    return text.count("[") + text.count("{") > MAX_DEPTH and _is_deeper(value, MAX_DEPTH)


def _is_deeper(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels == 0 or any(_is_deeper(item, levels - 1) for item in inner)
