"""Decide what to answer: a request becomes a plan, a list of output items and how to send them."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from devstack.openai import answers, code_interpreter, images
from devstack.openai.code_interpreter import CodeRun, Report
from devstack.openai.directives import Directives
from devstack.openai.directives import read as read_directives
from devstack.openai.errors import by_status, context_overflow
from devstack.openai.images import GeneratedImage
from devstack.openai.request import Request
from devstack.openai.schemas import instance

WORD_DELAY = 0.01  # seconds between the words of an answer without directives
_WORDS = re.compile(r"\S+\s*|\s+")
_REFUSAL = "I'm sorry, but I can't help with that. (Longshore's demo model was asked to refuse.)"


@dataclass
class Reasoning:
    pieces: tuple[str, ...]  # one per delta


@dataclass
class WebSearch:
    query: str


@dataclass
class Call:
    name: str
    arguments: str  # JSON


@dataclass
class Text:
    pieces: tuple[str, ...]  # one per delta
    refusal: bool = False
    cites: bool = False
    annotations: tuple[str, ...] = ()  # more of them, each as JSON


Item = Reasoning | WebSearch | GeneratedImage | Call | Text | CodeRun | Report


@dataclass
class Plan:
    items: list[Item] = field(default_factory=list)
    ending: str = "completed"  # or incomplete, failed, error
    delay: float = 0.0  # seconds between deltas
    slow: float = 0.0  # seconds before the first item
    hang: bool = False  # send nothing after response.in_progress
    cut: int | None = None  # break the connection after this many text deltas
    reason: str = "max_output_tokens"  # of an incomplete answer
    quirks: frozenset[str] = frozenset()  # oddities of compatible servers, on the chat wire


def plan(request: Request) -> Plan:
    """The plan for a request. Raises the ApiError that a directive asks for."""
    directives = read_directives(request.question)
    _raise_error(directives, request)
    result = Plan(slow=directives.get("slow", 0.0), hang="hang" in directives, cut=directives.get("cut"))
    result.quirks = directives.get("quirks", result.quirks)
    result.delay = directives.get("delay", 0.0 if directives.decide_answer else WORD_DELAY)
    result.ending = next((end for end in ("incomplete", "failed") if end in directives), "completed")
    if "content_filter" in directives:
        result.ending, result.reason = "incomplete", "content_filter"
    if "error_event" in directives:
        result.ending = "error"
    if "reasoning" in directives:
        result.items.append(Reasoning(words(f'The user asks: "{directives.plain[:80]}". I answer as the demo model.')))
    calls = _calls(directives, request)
    if calls:
        result.items += calls
    else:
        result.items += _message(directives, request, result)
    return result


@lru_cache(maxsize=256)
def words(text: str) -> tuple[str, ...]:
    """Split a text into words with their trailing white space. Joined, they are the text again."""
    return tuple(_WORDS.findall(text))


@lru_cache(maxsize=64)
def numbers(count: int) -> tuple[str, ...]:
    """Exactly `count` pieces, "1 ", "2 " and so on, so that a missing or repeated delta is easy to see."""
    return tuple(f"{number} " for number in range(1, count)) + ((str(count),) if count else ())


def _raise_error(directives: Directives, request: Request) -> None:
    if "status" in directives:
        raise by_status(directives.get("status"), directives.get("code"), directives.get("retry_after"))
    if "context_overflow" in directives:
        raise context_overflow()
    if "error_event" in directives and not request.stream:
        raise by_status(500)


def _calls(directives: Directives, request: Request) -> list[Call]:
    if forced := _forced_call(request):
        return [forced]
    calls = _directed_calls(directives, request)
    if not calls and not directives.decide_answer and request.tool_choice != "none":
        calls = [Call(*call) for call in answers.calls_for(directives.plain, request)]
    if not calls and request.tool_choice == "required" and request.functions:
        calls = [_call(request, next(iter(request.functions)))]
    return calls if request.parallel_calls else calls[:1]


def _forced_call(request: Request) -> Call | None:
    choice = request.tool_choice
    if isinstance(choice, dict) and choice["type"] == "function":
        return _call(request, choice["name"])
    return None


def _directed_calls(directives: Directives, request: Request) -> list[Call]:
    """The calls that directives ask for and that were not made yet."""
    if "loop_tool" in directives:
        return [_call(request, *directives.get("loop_tool"))]
    called = [call["name"] for call in request.calls()]
    calls = []
    for name, arguments in directives.calls:
        if name in called:
            called.remove(name)
        else:
            calls.append(_call(request, name, arguments))
    handoff = f"transfer_to_{directives.get('handoff')}"
    if "handoff" in directives and handoff in request.functions and handoff not in called:
        calls.append(Call(handoff, "{}"))
    return calls


def _call(request: Request, name: str, arguments: str | None = None) -> Call:
    """A call of a function. Without arguments, some that satisfy the function's own schema."""
    if arguments is None:
        parameters = (request.functions.get(name) or {}).get("parameters")
        arguments = json.dumps(instance(parameters)) if parameters else "{}"
    return Call(name, arguments)


def _message(directives: Directives, request: Request, result: Plan) -> Sequence[Item]:
    if result.ending in ("failed", "error") and not {"deltas", "text"} & directives.values.keys():
        return []
    if "refusal" in directives:
        return [Text(words(_REFUSAL), refusal=True)]
    if code := _code(directives, request):
        return [run := CodeRun(code), Report(run)]
    searches = "web_search" in directives or (
        not directives.decide_answer and answers.asks_for_web_search(directives.plain, request)
    )
    pieces = truncated(_pieces(directives, request), request, result)
    search = [WebSearch(answers.search_query(directives.plain))] if searches else []
    return [*search, *_images(directives, request), Text(pieces, cites=searches)]


def _images(directives: Directives, request: Request) -> list[GeneratedImage]:
    prompt, padding = directives.plain[:200], directives.get("image_padding", 0)
    if "image" in directives or (not directives.decide_answer and images.is_wanted(directives.plain, request)):
        return [GeneratedImage(prompt, padding)]
    return []


def _code(directives: Directives, request: Request) -> str | None:
    """The Python that the answer runs, if the request offers the code interpreter."""
    if code_interpreter.tool_of(request) is None or request.tool_choice == "none":
        return None
    if "python" in directives:
        return str(directives.get("python"))
    return None if directives.decide_answer else code_interpreter.code_for(directives.plain)


def _pieces(directives: Directives, request: Request) -> tuple[str, ...]:
    if "text" in directives:
        return words(directives.get("text"))
    if "echo_history" in directives:
        return words(answers.history(request))
    if "echo_request" in directives:
        return words(json.dumps(request.body))
    if request.text_format["type"] == "json_schema":
        return words(json.dumps(instance(request.text_format["schema"])))
    if "deltas" in directives:
        return numbers(directives.get("deltas"))
    if request.text_format["type"] == "json_object":
        return words(json.dumps({"answer": answers.answer(directives.plain, request)}))
    return words(answers.answer(directives.plain, request))


def truncated(pieces: tuple[str, ...], request: Request, result: Plan) -> tuple[str, ...]:
    """Apply the limit on output tokens, counting a word as a token."""
    limit = request.limit
    if limit is not None and len(pieces) > limit:
        result.ending = "incomplete"
        return pieces[:limit]
    return pieces
