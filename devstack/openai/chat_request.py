"""Read a request to POST /v1/chat/completions. Its messages become items, so that one script answers on both wires."""

from typing import Any

from devstack.openai import chat_checks, checks
from devstack.openai.errors import missing, wrong_type
from devstack.openai.request import Request, last_question, parse


class ChatRequest(Request):
    """A checked request. `body` is as it was sent; `items` are in the form of the Responses API."""

    @property
    def tool_choice(self) -> str | dict[str, Any]:
        choice: str | dict[str, Any] = flat_choice(self.body.get("tool_choice") or "auto")
        return choice

    @property
    def text_format(self) -> dict[str, Any]:
        form = self.body.get("response_format") or {"type": "text"}
        return {**form["json_schema"], "type": "json_schema"} if form["type"] == "json_schema" else form

    @property
    def limit(self) -> int | None:
        return self.body.get("max_completion_tokens") or self.body.get("max_tokens")

    @property
    def include_usage(self) -> bool:
        return (self.body.get("stream_options") or {}).get("include_usage") is True


def flat_choice(choice: Any) -> Any:
    """A tool_choice that names a function, in the form that the Responses API has for it."""
    if isinstance(choice, dict) and choice.get("type") == "function":
        return {"type": "function", "name": (choice.get("function") or {}).get("name")}
    return choice


def read(raw: bytes) -> ChatRequest:
    """Parse and check a request body. ApiError 400 if it is invalid."""
    body = parse(raw)
    for name in ("model", "messages"):
        if body.get(name) is None or body[name] == []:
            raise missing(name)
    if not isinstance(body["model"], str):
        raise wrong_type("model", "a string", body["model"])
    chat_checks.check_parameters(body)
    items = [item for message in chat_checks.check_messages(body["messages"]) for item in _items(message)]
    functions = chat_checks.check_tools(body.get("tools") or [])
    checks.check_tool_choice(flat_choice(body.get("tool_choice")), functions)
    question, since = last_question(items)
    return ChatRequest(body, items, question, since, functions, len(raw))


def _items(message: dict[str, Any]) -> list[dict[str, Any]]:
    if message["role"] == "tool":
        output = message["content"]
        return [{"type": "function_call_output", "call_id": message["tool_call_id"], "output": output}]
    content = message.get("content") or message.get("refusal")
    said = [{"role": message["role"], "content": content}] if content else []
    return [*said, *(_call(call) for call in message.get("tool_calls") or ())]


def _call(call: dict[str, Any]) -> dict[str, Any]:
    function = call["function"]
    return {
        "type": "function_call",
        "call_id": call["id"],
        "name": function["name"],
        "arguments": function["arguments"],
    }
