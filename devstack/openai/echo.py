"""The part of a response that repeats the request's parameters, as JSON without braces."""

from json.encoder import JSONEncoder
from json.encoder import encode_basestring_ascii as quote
from typing import Any

from devstack.openai.request import Request

_compact = JSONEncoder(separators=(",", ":")).encode

_ECHOED: dict[str, Any] = {  # parameter -> its default
    "background": False,
    "conversation": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "default",
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tool_choice": "auto",
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}
_DEFAULTS = {name: f'"{name}":{_compact(value)}' for name, value in _ECHOED.items()}


def echo(request: Request) -> str:
    """The parameters, with defaults for those that the request does not set.

    PERF: a stream leaves out `instructions` and `tools`, which three events would repeat.
    """
    body = request.body
    parts = dict(_DEFAULTS)
    for name in _ECHOED.keys() & body.keys():
        if body[name] is not None:
            parts[name] = f'"{name}":{_compact(_completed(name, body[name]))}'
    instructions, tools = (None, []) if request.stream else (body.get("instructions"), body.get("tools") or [])
    return (
        f'"model":{quote(body["model"])},"instructions":{_compact(instructions)},"tools":{_compact(tools)},'
        f"{','.join(parts.values())}"
    )


def _completed(name: str, value: Any) -> Any:
    if name == "conversation" and isinstance(value, str):
        return {"id": value}
    if name == "service_tier" and value == "auto":
        return "default"
    return {**_ECHOED[name], **value} if name in ("text", "reasoning") else value
