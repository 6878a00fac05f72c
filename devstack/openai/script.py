"""What to answer: a request becomes a plan, that is a list of output items and how they shall come."""

import json
import re
from dataclasses import dataclass, field
from functools import lru_cache

from devstack.openai import answers, directives
from devstack.openai.directives import Directives
from devstack.openai.errors import canned, context_overflow
from devstack.openai.request import Request
from devstack.openai.schemas import instance

WORD_DELAY = 0.01  # seconds between the words of an answer that asks for nothing else
_WORDS = re.compile(r"\S+\s*|\s+")
_REFUSAL = "I'm sorry, but I can't help with that. (Longshore's demo model was asked to refuse.)"


@dataclass
class Reasoning:
    pieces: tuple[str, ...]


@dataclass
class WebSearch:
    query: str


@dataclass
class Call:
    name: str
    arguments: str


@dataclass
class Text:
    pieces: tuple[str, ...]
    refusal: bool = False
    cites: bool = False


@dataclass
class Plan:
    items: list[Reasoning | WebSearch | Call | Text] = field(default_factory=list)
    ending: str = "completed"  # or incomplete, failed, error
    delay: float = 0.0  # seconds between deltas
    slow: float = 0.0  # seconds before the first item
    hang: bool = False
    cut: int | None = None  # the connection drops after so many text deltas


def plan(request: Request) -> Plan:
    """Raises the ApiError that a directive asks for."""
    asked = directives.read(request.question)
    _refuse(asked, request)
    result = Plan(slow=asked.get("slow", 0.0), hang="hang" in asked, cut=asked.get("cut"))
    result.delay = asked.get("delay", 0.0 if asked.decide else WORD_DELAY)
    result.ending = next((end for end in ("incomplete", "failed") if end in asked), "completed")
    if "error_event" in asked:
        result.ending = "error"
    if "reasoning" in asked:
        result.items.append(Reasoning(words(f'The user asks: "{asked.plain[:80]}". I answer as the demo model.')))
    calls = _calls(asked, request)
    if calls:
        result.items += calls
    else:
        result.items += _message(asked, request, result)
    return result


@lru_cache(maxsize=256)
def words(text: str) -> tuple[str, ...]:
    """Word by word; joined they are the text again."""
    return tuple(_WORDS.findall(text))


@lru_cache(maxsize=64)
def counted(count: int) -> tuple[str, ...]:
    """Exactly `count` pieces: "1 ", "2 " and so on, so that a lost or doubled one shows."""
    return tuple(f"{number} " for number in range(1, count)) + ((str(count),) if count else ())


def _refuse(asked: Directives, request: Request) -> None:
    if "status" in asked:
        raise canned(asked.get("status"), asked.get("code"), asked.get("retry_after"))
    if "context_overflow" in asked:
        raise context_overflow()
    if "error_event" in asked and not request.stream:
        raise canned(500)


def _calls(asked: Directives, request: Request) -> list[Call]:
    if forced := _forced(request):
        return [forced]
    found = _asked_calls(asked, request)
    if not found and not asked.decide and request.tool_choice != "none":
        found = [Call(*call) for call in answers.calls_for(asked.plain, request)]
    if not found and request.tool_choice == "required" and request.functions:
        found = [_call_of(request, next(iter(request.functions)))]
    return found if request.body.get("parallel_tool_calls") is not False else found[:1]


def _forced(request: Request) -> Call | None:
    choice = request.tool_choice
    if isinstance(choice, dict) and choice["type"] == "function":
        return _call_of(request, choice["name"])
    return None


def _asked_calls(asked: Directives, request: Request) -> list[Call]:
    if "loop_tool" in asked:
        return [_call_of(request, *asked.get("loop_tool"))]
    called = [call["name"] for call in request.calls()]
    found = []
    for name, arguments in asked.calls:
        if name in called:
            called.remove(name)
        else:
            found.append(_call_of(request, name, arguments))
    handoff = f"transfer_to_{asked.get('handoff')}"
    if "handoff" in asked and handoff in request.functions and handoff not in called:
        found.append(Call(handoff, "{}"))
    return found


def _call_of(request: Request, name: str, arguments: str | None = None) -> Call:
    """Without arguments given, the ones that the function's own schema asks for."""
    if arguments is None:
        parameters = (request.functions.get(name) or {}).get("parameters")
        arguments = json.dumps(instance(parameters)) if parameters else "{}"
    return Call(name, arguments)


def _message(asked: Directives, request: Request, result: Plan) -> list[WebSearch | Text]:
    if result.ending in ("failed", "error") and not {"deltas", "text"} & asked.values.keys():
        return []
    if "refusal" in asked:
        return [Text(words(_REFUSAL), refusal=True)]
    searched = "web_search" in asked or (not asked.decide and answers.wants_web(asked.plain, request))
    pieces = _limited(_pieces(asked, request), request, result)
    search = [WebSearch(answers.query_in(asked.plain))] if searched else []
    return [*search, Text(pieces, cites=searched)]


def _pieces(asked: Directives, request: Request) -> tuple[str, ...]:
    if "text" in asked:
        return words(asked.get("text"))
    if "echo_history" in asked:
        return words(answers.history(request))
    if "echo_request" in asked:
        return words(json.dumps(request.body))
    if request.text_format["type"] == "json_schema":
        return words(json.dumps(instance(request.text_format["schema"])))
    if "deltas" in asked:
        return counted(asked.get("deltas"))
    if request.text_format["type"] == "json_object":
        return words(json.dumps({"answer": answers.answer(asked.plain, request)}))
    return words(answers.answer(asked.plain, request))


def _limited(pieces: tuple[str, ...], request: Request, result: Plan) -> tuple[str, ...]:
    """Obey max_output_tokens: a word is a token here."""
    limit = request.body.get("max_output_tokens")
    if limit is not None and len(pieces) > limit:
        result.ending = "incomplete"
        return pieces[:limit]
    return pieces
