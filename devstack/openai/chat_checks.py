"""Checks of a request to POST /v1/chat/completions, with the errors of the real service. Each raises an ApiError 400."""

from typing import Any

from devstack.openai import checks
from devstack.openai.errors import invalid, missing, wrong_type

_TYPES: dict[str, tuple[Any, str]] = {  # parameter -> (types, their name in messages)
    "stream": (bool, "a boolean"),
    "stream_options": (dict, "an object"),
    "store": (bool, "a boolean"),
    "metadata": (dict, "an object"),
    "temperature": ((int, float), "a decimal"),
    "top_p": ((int, float), "a decimal"),
    "max_tokens": (int, "an integer"),
    "max_completion_tokens": (int, "an integer"),
    "parallel_tool_calls": (bool, "a boolean"),
    "response_format": (dict, "an object"),
    "tools": (list, "an array of objects"),
}
_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_PARTS = ("text", "image_url", "input_audio", "file", "refusal")


def check_parameters(body: dict[str, Any]) -> None:
    """Types and ranges of the top-level parameters."""
    checks.check_types(body, _TYPES)
    for name in ("max_tokens", "max_completion_tokens"):
        if body.get(name) is not None and body[name] < 1:
            raise invalid(f"Invalid '{name}': integer below minimum value.", name, "integer_below_min_value")
    if body.get("stream_options") is not None and not body.get("stream"):
        raise invalid("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")
    form = body.get("response_format") or {"type": "text"}
    if form.get("type") == "json_schema":
        if not isinstance(form.get("json_schema"), dict):
            raise missing("response_format.json_schema")
        form = {**form["json_schema"], "type": "json_schema"}
    checks.check_format(form, "response_format.type", "response_format.json_schema")


def check_messages(messages: Any) -> list[dict[str, Any]]:
    if not isinstance(messages, list):
        raise wrong_type("messages", "an array of objects", messages)
    waiting: set[str] = set()  # calls of the last assistant message that have no output yet
    for at, message in enumerate(messages):
        where = f"messages.[{at}]"
        if not isinstance(message, dict):
            raise wrong_type(where, "an object", message)
        if message.get("role") not in _ROLES:
            raise invalid(f"Invalid value: '{message.get('role')}'.", f"{where}.role", "invalid_value")
        if message["role"] == "tool":
            _check_output(message, waiting, where)
        elif waiting:
            raise _unanswered(waiting, where)
        _check_content(message, where)
        waiting |= _calls_of(message, where)
    if waiting:
        raise _unanswered(waiting, f"messages.[{len(messages) - 1}]")
    return messages


def _check_output(message: dict[str, Any], waiting: set[str], where: str) -> None:
    call_id = message.get("tool_call_id")
    if call_id not in waiting:
        raise invalid(
            "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.",
            f"{where}.role",
        )
    waiting.discard(call_id)


def _unanswered(waiting: set[str], where: str) -> Exception:
    return invalid(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. The "
        f"following tool_call_ids did not have response messages: {', '.join(sorted(waiting))}",
        f"{where}.role",
    )


def _check_content(message: dict[str, Any], where: str) -> None:
    content = message.get("content")
    if content is None and message["role"] == "assistant" and (message.get("tool_calls") or message.get("refusal")):
        return
    if content is None:
        raise invalid("Invalid value for 'content': expected a string, got null.", f"{where}.content")
    if not isinstance(content, str | list):
        raise wrong_type(f"{where}.content", "one of a string or array of objects", content)
    for number, part in enumerate(content if isinstance(content, list) else ()):
        if not isinstance(part, dict) or part.get("type") not in _PARTS:
            raise invalid(
                "Invalid value for a content part's type.", f"{where}.content.[{number}].type", "invalid_value"
            )
        if part["type"] == "image_url" and not isinstance((part.get("image_url") or {}).get("url"), str):
            raise missing(f"{where}.content.[{number}].image_url.url")


def _calls_of(message: dict[str, Any], where: str) -> set[str]:
    found = set()
    for number, call in enumerate(message.get("tool_calls") or ()):
        function = call.get("function") or {}
        for name, value in (("id", call.get("id")), ("function.name", function.get("name"))):
            if not isinstance(value, str):
                raise missing(f"{where}.tool_calls.[{number}].{name}")
        if not isinstance(function.get("arguments"), str):
            raise missing(f"{where}.tool_calls.[{number}].function.arguments")
        found.add(call["id"])
    return found


def check_tools(tools: list[Any]) -> dict[str, dict[str, Any]]:
    """{name: tool} of the functions, in the form that the Responses API has for them. There are no hosted tools."""
    for at, tool in enumerate(tools):
        if not isinstance(tool, dict):
            raise wrong_type(f"tools[{at}]", "an object", tool)
        if tool.get("type") != "function":
            raise invalid(
                f"Invalid value: '{tool.get('type')}'. Supported values are: 'function' and 'custom'.",
                f"tools[{at}].type",
                "invalid_value",
            )
        if not isinstance(tool.get("function"), dict):
            raise missing(f"tools[{at}].function")
    return checks.check_tools([{**tool["function"], "type": "function"} for tool in tools])
