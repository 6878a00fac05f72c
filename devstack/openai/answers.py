"""How the demo model reacts to a message in plain words, and what it answers."""

import json
import re
from typing import Any

from devstack.openai import passages
from devstack.openai.code_interpreter import asks_for_code, tool_of
from devstack.openai.request import Request, text_of

_TIME = re.compile(
    r"\b(what time|current time|time is it|time now|(what|tell|give|know)\b[^.?!]{0,30}\bthe time)\b", re.IGNORECASE
)
_SEARCH = re.compile(r"\b(search|find|look)\b[^.?!]*\b(conversations?|chats?|messages|history)\b", re.IGNORECASE)
_WEB = re.compile(r"\b(search (the )?(web|internet|online)|look (it |this )?up online|web search)\b", re.IGNORECASE)
_CODE = re.compile(r"\b(code|coding|python|functions?|bugs?)\b", re.IGNORECASE)
_DATA = re.compile(r"\b(data|datasets?|statistics|statistical|analy[sz]e[ds]?|analy[sz]ing|analysis)\b", re.IGNORECASE)
_FILES = re.compile(
    r"\b(files?|documents?|handbook|manual|polic(y|ies)|knowledge base|uploaded|according to)\b", re.IGNORECASE
)
_QUERY = re.compile(r"\b(?:for|about|on|mentioning|containing)\s+(.+)", re.IGNORECASE | re.DOTALL)
_HANDOFF = "transfer_to_"
_ANALYST = f"{_HANDOFF}data_analyst"
_TELLING = ("get_current_time", "search_conversations", "file_search")  # what they return is an answer
_DEMO = "This is Longshore's built-in demo model: its answers are scripted. Set OPENAI_API_KEY to talk to a real one."


def calls_for(words: str, request: Request) -> list[tuple[str, str]]:
    """The (function, arguments as JSON) that a message asks for, unless it was called since the message."""
    called = {call["name"] for call in request.calls()}
    available = request.functions.keys() - called
    if _TIME.search(words) and "get_current_time" in available:
        return [("get_current_time", "{}")]
    if "file_search" in available and (_FILES.search(words) or len(request.functions) == 1):
        return [("file_search", json.dumps({"query": words.strip()[:300] or "everything"}))]
    if _SEARCH.search(words) and "search_conversations" in available:
        return [("search_conversations", json.dumps({"query": search_query(words)}))]
    if not any(name.startswith(_HANDOFF) for name in called):
        if asks_for_code(words):  # the code assistant has no place to run it
            return [(_ANALYST, "{}")] if tool_of(request) is None and _ANALYST in available else []
        for pattern, target in ((_CODE, "code_assistant"), (_DATA, "data_analyst")):
            if pattern.search(words) and _HANDOFF + target in available:
                return [(_HANDOFF + target, "{}")]
    return []


def asks_for_web_search(words: str, request: Request) -> bool:
    """Whether a message asks for a web search and the request offers the hosted tool for it."""
    return any(kind.startswith("web_search") for kind in request.tool_types) and bool(_WEB.search(words))


def search_query(words: str) -> str:
    """What to search for: the quoted text, or what follows a word such as "for" or "about", or the whole message."""
    if quoted := re.search(r"[\"“”]([^\"“”]+)[\"“”]", words):
        return quoted[1].strip()
    match = _QUERY.search(words)
    return (match[1] if match else words).strip(" .?!\n") or words


def answer(words: str, request: Request) -> str:
    """The answer in one to three sentences: which agent answers, what the tools returned, and that this is a demo."""
    outputs, sentences = request.outputs(), []
    for call in request.calls():
        output = outputs.get(call["call_id"], "")
        if call["name"].startswith(_HANDOFF):
            sentences.append(f"{_title(call['name'])} here, I have taken over.")
        else:
            sentences.append(_report(call, output, words))
    if not any(call["name"] in _TELLING for call in request.calls()):
        sentences.append(passages.repeat(words) or f'You said: "{_short(words)}".')
    if documents := request.documents:
        sentences.append(passages.quote(words, documents))
    if seen := request.seen:
        sentences.append(f"I see {', '.join(seen)}.")
    return " ".join((*sentences, _DEMO))


def history(request: Request) -> str:
    """The model's input as JSON: [{"role", "text"}], with function calls and their outputs."""
    return json.dumps([_entry(item) for item in request.items], ensure_ascii=False)


def _entry(item: dict[str, Any]) -> dict[str, str]:
    kind = item.get("type", "message")
    if kind == "function_call":
        return {"role": "tool_call", "text": f"{item['name']} {item['arguments']}"}
    if kind == "function_call_output":
        return {"role": "tool", "text": text_of(item["output"])}
    return {"role": item.get("role") or kind, "text": text_of(item.get("content") or "")}


def _report(call: dict[str, Any], output: str, words: str) -> str:
    if call["name"] == "get_current_time":
        return f"It is {output}."
    if call["name"] == "search_conversations":
        return f"I searched your conversations: {output}"
    if call["name"] == "file_search":
        return passages.cite(words, output)
    return f"The tool {call['name']} returned: {_short(output)}"


def _title(handoff: str) -> str:
    return handoff.removeprefix(_HANDOFF).replace("_", " ").title()


def _short(text: str, limit: int = 300) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else f"{text[:limit]}…"
