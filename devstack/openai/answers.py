"""What the demo model understands of plain words, and what it answers."""

import json
import re

from devstack.openai.request import Request, text_of

_TIME = re.compile(
    r"\b(what time|current time|time is it|time now|(what|tell|give|know)\b[^.?!]{0,30}\bthe time)\b", re.IGNORECASE
)
_SEARCH = re.compile(r"\b(search|find|look)\b[^.?!]*\b(conversations?|chats?|messages|history)\b", re.IGNORECASE)
_WEB = re.compile(r"\b(search (the )?(web|internet|online)|look (it |this )?up online|web search)\b", re.IGNORECASE)
_CODE = re.compile(r"\b(code|coding|python|functions?|bugs?)\b", re.IGNORECASE)
_DATA = re.compile(r"\b(data|datasets?|statistics|statistical|analy[sz]e[ds]?|analy[sz]ing|analysis)\b", re.IGNORECASE)
_QUERY = re.compile(r"\b(?:for|about|on|mentioning|containing)\s+(.+)", re.IGNORECASE | re.DOTALL)
_HANDOFF = "transfer_to_"
_DEMO = "This is Longshore's built-in demo model: its answers are scripted. Set OPENAI_API_KEY to talk to a real one."


def calls_for(words: str, request: Request) -> list[tuple[str, str]]:
    """The (function, arguments) that a message in plain words asks for and that were not called since."""
    called = {call["name"] for call in request.calls()}

    def may(name: str) -> bool:
        return name in request.functions and name not in called

    if _TIME.search(words) and may("get_current_time"):
        return [("get_current_time", "{}")]
    if _SEARCH.search(words) and may("search_conversations"):
        return [("search_conversations", json.dumps({"query": query_in(words)}))]
    if not any(name.startswith(_HANDOFF) for name in called):
        for pattern, target in ((_CODE, "code_assistant"), (_DATA, "data_analyst")):
            if pattern.search(words) and may(_HANDOFF + target):
                return [(_HANDOFF + target, "{}")]
    return []


def wants_web(words: str, request: Request) -> bool:
    return any(kind.startswith("web_search") for kind in request.hosted) and bool(_WEB.search(words))


def query_in(words: str) -> str:
    """What to search for: a quotation, or what follows "for" or "about", or all of it."""
    if quoted := re.search(r"[\"“”]([^\"“”]+)[\"“”]", words):
        return quoted[1].strip()
    match = _QUERY.search(words)
    return (match[1] if match else words).strip(" .?!\n") or words


def answer(words: str, request: Request) -> str:
    """One to three sentences: who speaks, what the tools said, and that this is a demo."""
    outputs, said = request.outputs(), []
    for call in request.calls():
        output = outputs.get(call["call_id"], "")
        if call["name"].startswith(_HANDOFF):
            said.append(f"{_title(call['name'])} here, I have taken over.")
        else:
            said.append(_report(call, output))
    if not any(call["name"] in ("get_current_time", "search_conversations") for call in request.calls()):
        said.append(f'You said: "{_short(words)}".')
    return " ".join((*said, _DEMO))


def history(request: Request) -> str:
    """The input as the model got it: [{"role", "text"}], calls and their outputs included."""
    return json.dumps([_entry(item) for item in request.items], ensure_ascii=False)


def _entry(item: dict) -> dict[str, str]:
    kind = item.get("type", "message")
    if kind == "function_call":
        return {"role": "tool_call", "text": f"{item['name']} {item['arguments']}"}
    if kind == "function_call_output":
        return {"role": "tool", "text": text_of(item["output"])}
    return {"role": item.get("role") or kind, "text": text_of(item.get("content") or "")}


def _report(call: dict, output: str) -> str:
    if call["name"] == "get_current_time":
        return f"It is {output}."
    if call["name"] == "search_conversations":
        return f"I searched your conversations: {output}"
    return f"The tool {call['name']} answered: {_short(output)}"


def _title(handoff: str) -> str:
    return handoff.removeprefix(_HANDOFF).replace("_", " ").title()


def _short(text: str, limit: int = 300) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else f"{text[:limit]}…"
