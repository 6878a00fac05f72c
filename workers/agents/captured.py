"""What models and tools said, for spans. Only where OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT asks for it.

In the form of OpenTelemetry's conventions: a JSON list of messages with parts. Images and files are left out.
"""

import json
from collections.abc import Iterator
from typing import Any

from models.platform import tracing
from models.platform.settings import settings
from models.platform.tracing import Attributes
from workers.agents.items import Item, reasoning_of

ON_SPANS = ("span_only", "span_and_event", "true")
MAX_CHARACTERS = 8_000  # of a text
MAX_MESSAGES = 50  # the newest ones of a request
NOTHING: Attributes = {}


def is_wanted() -> bool:
    return tracing.is_on() and settings.otel_instrumentation_genai_capture_message_content.lower() in ON_SPANS


def asked(request: dict[str, Any]) -> Attributes:
    """Of a request in the form of the Responses wire."""
    if not is_wanted():
        return NOTHING
    messages = [message for item in request["input"][-MAX_MESSAGES:] if (message := _message(item))]
    instructions = [_text(request.get("instructions") or "")]
    return {"gen_ai.input.messages": json.dumps(messages), "gen_ai.system_instructions": json.dumps(instructions)}


def answered(response: dict[str, Any]) -> Attributes:
    if not is_wanted():
        return NOTHING
    output: list[Item] = response.get("output") or []
    parts = [part for item in output for part in _parts(item)]
    reason = "tool_call" if any(part["type"] == "tool_call" for part in parts) else "stop"
    return {
        "gen_ai.output.messages": json.dumps([{"role": "assistant", "parts": parts, "finish_reason": reason}]),
    }


def called(arguments: str, output: str) -> Attributes:
    """Of a tool that runs here."""
    if not is_wanted():
        return NOTHING
    return {
        "gen_ai.tool.call.arguments": arguments[:MAX_CHARACTERS],
        "gen_ai.tool.call.result": output[:MAX_CHARACTERS],
    }


def _message(item: Item) -> dict[str, Any] | None:
    parts = list(_parts(item))
    if not parts:
        return None
    role = "tool" if item.get("type") == "function_call_output" else item.get("role") or "assistant"
    return {"role": role, "parts": parts}


def _parts(item: Item) -> Iterator[dict[str, Any]]:
    kind = item.get("type", "message")
    if kind == "message":
        content = item.get("content") or ""
        for part in [{"text": content}] if isinstance(content, str) else content:
            if text := part.get("text") or part.get("refusal"):
                yield _text(text)
    elif kind == "function_call":
        arguments = str(item.get("arguments"))[:MAX_CHARACTERS]
        yield {"type": "tool_call", "id": item.get("call_id"), "name": item.get("name"), "arguments": arguments}
    elif kind == "function_call_output":
        yield {
            "type": "tool_call_response",
            "id": item.get("call_id"),
            "response": str(item["output"])[:MAX_CHARACTERS],
        }
    elif kind == "reasoning" and (text := reasoning_of(item)):
        yield {"type": "reasoning", "content": text[:MAX_CHARACTERS]}


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "content": text[:MAX_CHARACTERS]}
