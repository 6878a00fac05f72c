"""A plan on the wire: the events of a streamed response and the response object, as JSON text.

PERF: this runs on the same cores as what it serves, so JSON is put together from prepared pieces, not from objects.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from json.encoder import encode_basestring_ascii as quote
from typing import Any

from devstack.openai.request import Request
from devstack.openai.script import Call, Plan, Reasoning, Text, WebSearch

HANG_SECONDS = 600.0
DROP = None  # told instead of an event: the connection breaks here
_ARGUMENT_PIECE = 16  # characters of a call's arguments per delta
_ERROR = '"code":"server_error","message":"The demo model was asked to fail."'
_TOO_LONG = '{"reason":"max_output_tokens"}'
_NOTHING_USED = '"usage":null'

_compact = json.JSONEncoder(separators=(",", ":")).encode

Step = str | float | None  # an event, seconds to wait, or DROP


class Reply:
    """One response. `steps()` tells its events in order; afterwards `final` is the finished response object."""

    def __init__(self, request: Request, plan: Plan):
        self.request, self.plan = request, plan
        self.seed = os.urandom(20).hex()
        self.number = 0
        self.output: list[str] = []
        self.tokens = self.reasoning_tokens = 0
        self.created = int(time.time())
        self.tail = _echo(request)
        self.final = ""

    def steps(self) -> Iterator[Step]:
        begun = f'"response":{self.response("in_progress")}'
        yield self.event("response.created", begun)
        yield self.event("response.in_progress", begun)
        if self.plan.hang:
            yield HANG_SECONDS
            yield DROP
        if self.plan.slow:
            yield self.plan.slow
        for index, item in enumerate(self.plan.items):
            yield from _TELL[type(item)](self, index, item)
        yield self.ending()

    def event(self, kind: str, rest: str) -> str:
        number = self.number
        self.number = number + 1
        return f'event: {kind}\ndata: {{"type":"{kind}","sequence_number":{number},{rest}}}\n\n'

    def deltas(self, kind: str, where: str, pieces, rest: str = "") -> Iterator[Step]:
        """One event per piece, `delay` seconds apart, the first at once."""
        head = f'event: {kind}\ndata: {{"type":"{kind}","sequence_number":'
        middle, end = f',{where},"delta":', f"{rest}}}\n\n"
        number, delay = self.number, self.plan.delay
        for at, piece in enumerate(pieces):
            if delay and at:
                yield delay
            yield f"{head}{number}{middle}{quote(piece)}{end}"
            number += 1
            self.number = number
        self.tokens += len(pieces)

    def added(self, index: int, item: str) -> str:
        return self.event("response.output_item.added", f'"output_index":{index},"item":{item}')

    def done(self, index: int, item: str) -> str:
        self.output.append(item)
        return self.event("response.output_item.done", f'"output_index":{index},"item":{item}')

    def ending(self) -> str:
        end = self.plan.ending
        if end == "error":
            return self.event("error", f'{_ERROR},"param":null')
        self.final = self.response(end)
        return self.event(f"response.{end}", f'"response":{self.final}')

    def response(self, status: str) -> str:
        over = status != "in_progress"
        return (
            f'{{"id":"resp_{self.seed}","object":"response","created_at":{self.created},"status":"{status}",'
            f'"completed_at":{int(time.time()) if status == "completed" else "null"},'
            f'"error":{f"{{{_ERROR}}}" if status == "failed" else "null"},'
            f'"incomplete_details":{_TOO_LONG if status == "incomplete" else "null"},'
            f'"output":[{",".join(self.output) if over else ""}],'
            f"{self.usage() if over and status != 'failed' else _NOTHING_USED},{self.tail}}}"
        )

    def usage(self) -> str:
        given = self.request.size // 4 + 1
        return (
            f'"usage":{{"input_tokens":{given},"input_tokens_details":{{"cached_tokens":0,"cache_write_tokens":0}},'
            f'"output_tokens":{self.tokens},"output_tokens_details":{{"reasoning_tokens":{self.reasoning_tokens}}},'
            f'"total_tokens":{given + self.tokens}}}'
        )


def _text(reply: Reply, index: int, item: Text) -> Iterator[Step]:
    name, key = ("refusal", "refusal") if item.refusal else ("output_text", "text")
    rest = "" if item.refusal else ',"logprobs":[]'
    item_id = f"msg_{reply.seed}{index:02x}"
    where = f'"item_id":"{item_id}","output_index":{index},"content_index":0'
    cut = reply.plan.cut
    yield reply.added(index, _message(item_id, "in_progress", ""))
    yield reply.event("response.content_part.added", f'{where},"part":{_part(item, quote(""), "")}')
    pieces = item.pieces if cut is None else item.pieces[:cut]
    yield from reply.deltas(f"response.{name}.delta", where, pieces, rest)
    if cut is not None:
        yield DROP
    if reply.plan.ending in ("failed", "error"):
        return
    text, cited = "".join(item.pieces), ""
    if item.cites:
        cited = _citation(len(text))
        yield reply.event("response.output_text.annotation.added", f'{where},"annotation_index":0,"annotation":{cited}')
    whole = quote(text)
    yield reply.event(f"response.{name}.done", f'{where},"{key}":{whole}{rest}')
    part = _part(item, whole, cited)
    yield reply.event("response.content_part.done", f'{where},"part":{part}')
    status = "incomplete" if reply.plan.ending == "incomplete" else "completed"
    yield reply.done(index, _message(item_id, status, part))


def _message(item_id: str, status: str, content: str) -> str:
    return f'{{"id":"{item_id}","type":"message","status":"{status}","content":[{content}],"role":"assistant"}}'


def _part(item: Text, text: str, annotations: str) -> str:
    if item.refusal:
        return f'{{"type":"refusal","refusal":{text}}}'
    return f'{{"type":"output_text","annotations":[{annotations}],"logprobs":[],"text":{text}}}'


def _citation(end: int) -> str:
    return (
        f'{{"type":"url_citation","start_index":0,"end_index":{end},"title":"A demo page, nothing was searched",'
        '"url":"https://example.com/"}'
    )


def _call(reply: Reply, index: int, item: Call) -> Iterator[Step]:
    item_id, arguments = f"fc_{reply.seed}{index:02x}", item.arguments
    rest = f'"call_id":"call_{reply.seed[:22]}{index:02x}","name":{quote(item.name)}'
    where = f'"item_id":"{item_id}","output_index":{index}'

    def state(status: str, text: str) -> str:
        return f'{{"id":"{item_id}","type":"function_call","status":"{status}","arguments":{text},{rest}}}'

    yield reply.added(index, state("in_progress", '""'))
    pieces = [arguments[at : at + _ARGUMENT_PIECE] for at in range(0, len(arguments), _ARGUMENT_PIECE)]
    yield from reply.deltas("response.function_call_arguments.delta", where, pieces)
    yield reply.event("response.function_call_arguments.done", f'{where},"arguments":{quote(arguments)}')
    yield reply.done(index, state("completed", quote(arguments)))


def _web_search(reply: Reply, index: int, item: WebSearch) -> Iterator[Step]:
    item_id, query = f"ws_{reply.seed}{index:02x}", quote(item.query)
    where = f'"output_index":{index},"item_id":"{item_id}"'

    def state(status: str) -> str:
        return (
            f'{{"id":"{item_id}","type":"web_search_call","status":"{status}",'
            f'"action":{{"type":"search","query":{query},"queries":[{query}]}}}}'
        )

    yield reply.added(index, state("in_progress"))
    for stage in ("in_progress", "searching", "completed"):
        yield reply.event(f"response.web_search_call.{stage}", where)
    yield reply.done(index, state("completed"))


def _reasoning(reply: Reply, index: int, item: Reasoning) -> Iterator[Step]:
    item_id, text = f"rs_{reply.seed}{index:02x}", quote("".join(item.pieces))
    where = f'"item_id":"{item_id}","output_index":{index},"summary_index":0'
    wants_secret = "reasoning.encrypted_content" in (reply.request.body.get("include") or ())
    secret = ',"encrypted_content":"ZGVtbw=="' if wants_secret else ""

    def part(text: str) -> str:
        return f'{{"type":"summary_text","text":{text}}}'

    yield reply.added(index, f'{{"id":"{item_id}","type":"reasoning","summary":[]{secret}}}')
    yield reply.event("response.reasoning_summary_part.added", f'{where},"part":{part(quote(""))}')
    yield from reply.deltas("response.reasoning_summary_text.delta", where, item.pieces)
    reply.reasoning_tokens += len(item.pieces)
    yield reply.event("response.reasoning_summary_text.done", f'{where},"text":{text}')
    yield reply.event("response.reasoning_summary_part.done", f'{where},"part":{part(text)}')
    yield reply.done(index, f'{{"id":"{item_id}","type":"reasoning","summary":[{part(text)}]{secret}}}')


_TELL: dict[type, Callable[[Reply, int, Any], Iterator[Step]]] = {
    Text: _text,
    Call: _call,
    WebSearch: _web_search,
    Reasoning: _reasoning,
}

_ECHOED: dict[str, Any] = {  # what the response repeats of the request -> its default
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


def _echo(request: Request) -> str:
    """The request's parameters. PERF: a stream leaves out its long ones, three events would repeat them."""
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


def _completed(name: str, value):
    if name == "conversation" and isinstance(value, str):
        return {"id": value}
    if name == "service_tier" and value == "auto":
        return "default"
    return {**_ECHOED[name], **value} if name in ("text", "reasoning") else value
