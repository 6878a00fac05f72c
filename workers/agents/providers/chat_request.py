"""A request of the Responses wire, as a request of the Chat Completions wire."""

import logging
from typing import Any

from workers.agents.items import reasoning_of
from workers.agents.providers.client import OPTIONAL
from workers.agents.providers.errors import ProviderError
from workers.agents.providers.models_file import Provider

# `include`, `store` and `previous_response_id` have no counterpart: the whole conversation is sent.
TRANSLATED = {
    "include",
    "input",
    "instructions",
    "max_output_tokens",
    "previous_response_id",
    "store",
    "text",
    "tools",
}
log = logging.getLogger(__name__)
_warned: set[tuple[str, str]] = set()
Message = dict[str, Any]


def chat_request(request: dict[str, Any], provider: Provider) -> dict[str, Any]:
    """The body of POST /chat/completions. ProviderError if the agent cannot do without a hosted tool."""
    body = {name: value for name, value in request.items() if name not in TRANSLATED}
    body["messages"] = messages(request["input"], request.get("instructions"), provider.send_reasoning)
    body |= {"stream": True, "stream_options": {"include_usage": True}}
    if tools := _tools(request.get("tools") or [], provider):
        body["tools"] = tools
    if limit := request.get("max_output_tokens"):
        body[provider.token_limit] = limit
    if (form := (request.get("text") or {}).get("format")) and form["type"] == "json_schema":
        schema = {name: form[name] for name in ("name", "strict", "schema")}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def _tools(tools: list[dict[str, Any]], provider: Provider) -> list[dict[str, Any]]:
    functions = []
    for tool in tools:
        if tool["type"] == "function":
            function = {name: value for name, value in tool.items() if name != "type"}
            functions.append({"type": "function", "function": function})
        elif tool.get(OPTIONAL):
            _warn_once(provider, tool["type"])
        else:
            raise ProviderError("tools_unavailable")
    return functions


def _warn_once(provider: Provider, tool: str) -> None:
    if (provider.name, tool) not in _warned:
        _warned.add((provider.name, tool))
        log.warning("model.tool_dropped", extra={"provider": provider.name, "tool": tool, "wire": "chat"})


def messages(items: list[dict[str, Any]], instructions: str | None, send_reasoning: bool = False) -> list[Message]:
    found: list[Message] = [{"role": "system", "content": instructions}] if instructions else []
    reasoning: str | None = None
    for item in items:
        kind = item.get("type", "message")
        if kind == "reasoning":
            reasoning = reasoning_of(item) if send_reasoning else None
        elif kind == "function_call":
            calling = _calling_message(found, reasoning)
            function = {"name": item["name"], "arguments": item["arguments"]}
            calling["tool_calls"].append({"id": item["call_id"], "type": "function", "function": function})
            reasoning = None
        elif kind == "function_call_output":
            output = _content(item["output"])
            found.append({"role": "tool", "tool_call_id": item["call_id"], "content": output})
        elif kind == "message":
            found.append({"role": item["role"], "content": _content(item["content"])})
    return found


def _calling_message(found: list[Message], reasoning: str | None) -> Message:
    """The assistant's message that the next call belongs to: calls of one response are in one message."""
    if not found or found[-1]["role"] != "assistant":
        found.append({"role": "assistant", "content": None})
    message = found[-1]
    message.setdefault("tool_calls", [])
    if reasoning:
        message["reasoning_content"] = reasoning
    return message


def _content(content: str | list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    return content if isinstance(content, str) else [_part(part) for part in content]


def _part(part: dict[str, Any]) -> dict[str, Any]:
    if part["type"] == "input_image":
        image = {"url": part["image_url"], "detail": part.get("detail") or "auto"}
        return {"type": "image_url", "image_url": image}
    if part["type"] == "input_file":
        names = ("file_data", "file_id", "filename")
        return {"type": "file", "file": {name: part[name] for name in names if part.get(name)}}
    if part["type"] == "refusal":
        return {"type": "refusal", "refusal": part["refusal"]}
    return {"type": "text", "text": part["text"]}
