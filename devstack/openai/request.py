"""Read a request to POST /v1/responses, checked as the real service checks it."""

import json
from dataclasses import dataclass
from typing import Any

from devstack.openai import checks, images, passages
from devstack.openai.errors import invalid, missing, wrong_type


@dataclass
class Request:
    """A checked request.

    body        the whole body
    items       the input items
    question    text of the last user message, "" if there is none
    since       the items after that message
    functions   {name: tool} of the functions that the model may call
    size        bytes of the body
    """

    body: dict[str, Any]
    items: list[dict[str, Any]]
    question: str
    since: list[dict[str, Any]]
    functions: dict[str, dict[str, Any]]
    size: int

    @property
    def stream(self) -> bool:
        return self.body.get("stream") is True

    @property
    def tool_types(self) -> set[str]:
        return {tool["type"] for tool in self.body.get("tools") or ()}

    @property
    def tool_choice(self) -> str | dict[str, Any]:
        return self.body.get("tool_choice") or "auto"

    @property
    def text_format(self) -> dict[str, Any]:
        return (self.body.get("text") or {}).get("format") or {"type": "text"}

    @property
    def limit(self) -> int | None:
        """The most tokens that the answer may have."""
        return self.body.get("max_output_tokens")

    @property
    def parallel_calls(self) -> bool:
        return self.body.get("parallel_tool_calls") is not False

    @property
    def seen(self) -> list[str]:
        """A few words about each image of the last user message."""
        return images.seen(self._shown)

    @property
    def documents(self) -> list[str]:
        """The files in the last user message, as texts."""
        return passages.documents(self._shown)

    @property
    def _shown(self) -> Any:
        return next((item["content"] for item in reversed(self.items) if _by_user(item)), None)

    def calls(self) -> list[dict[str, Any]]:
        """The function calls since the last user message."""
        return [item for item in self.since if item.get("type") == "function_call"]

    def outputs(self) -> dict[str, str]:
        """{call_id: output} since the last user message."""
        return {
            item["call_id"]: text_of(item["output"])
            for item in self.since
            if item.get("type") == "function_call_output"
        }


def read(raw: bytes) -> Request:
    """Parse and check a request body. ApiError 400 if it is invalid."""
    body = parse(raw)
    for name in ("model", "input"):
        if body.get(name) is None or body[name] == []:
            raise missing(name)
    if not isinstance(body["model"], str):
        raise wrong_type("model", "a string", body["model"])
    checks.check_parameters(body)
    items = checks.check_items(body["input"])
    functions = checks.check_tools(body.get("tools") or [])
    checks.check_tool_choice(body.get("tool_choice"), functions)
    if not (body.get("previous_response_id") or body.get("conversation")):
        checks.check_calls(items)
    question, since = last_question(items)
    return Request(body, items, question, since, functions, len(raw))


def last_question(items: list[dict[str, Any]]) -> tuple[str, list[dict[str, Any]]]:
    """The text of the last user message, and the items after it."""
    last = max((at for at, item in enumerate(items) if _by_user(item)), default=-1)
    return (_words_of(items[last]["content"]) if last >= 0 else ""), items[last + 1 :]


def _words_of(content: str | list[dict[str, Any]]) -> str:
    """What the user has written: the last text. The others are files, which give no directives."""
    texts = [content] if isinstance(content, str) else [part["text"] for part in content if part.get("text")]
    return texts[-1] if texts else ""


def parse(raw: bytes) -> dict[str, Any]:
    """Parse a JSON object. ApiError 400 if it is anything else."""
    try:
        body = json.loads(raw)
    except ValueError as error:
        raise invalid(
            "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP "
            f"library correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON: {error})"
        ) from None
    if not isinstance(body, dict):
        raise invalid("The JSON body of your request must be an object.")
    return body


def text_of(content: str | list[dict[str, Any]]) -> str:
    """The text of a message's content, or of a function's output."""
    if isinstance(content, str):
        return content
    return "".join(part.get("text") or part.get("refusal") or "" for part in content)


def _by_user(item: dict[str, Any]) -> bool:
    return item.get("role") == "user" and item.get("type", "message") == "message"
