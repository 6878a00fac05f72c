"""The events of one output item: a text, a function call, a web search, code that is run or a reasoning summary."""

import json
from collections.abc import Callable, Iterator
from json.encoder import encode_basestring_ascii as quote
from typing import TYPE_CHECKING, Any

from devstack.openai import images
from devstack.openai.code_interpreter import OUTPUTS, CodeRun, Report
from devstack.openai.script import Call, Reasoning, Text, WebSearch, truncated, words

if TYPE_CHECKING:
    from devstack.openai.wire import Reply

Step = str | float | None  # an event, seconds to wait, or DROP
DROP = None  # break the connection
HANG_SECONDS = 600.0
ARGUMENT_PIECE = 16  # characters of a call's arguments per delta


def _text(reply: "Reply", index: int, item: Text) -> Iterator[Step]:
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
    text = "".join(item.pieces)
    annotations = [*([_citation(len(text))] if item.cites else []), *item.annotations]
    for at, annotation in enumerate(annotations):
        rest_of = f'{where},"annotation_index":{at},"annotation":{annotation}'
        yield reply.event("response.output_text.annotation.added", rest_of)
    cited = ",".join(annotations)
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


def _call(reply: "Reply", index: int, item: Call) -> Iterator[Step]:
    item_id, arguments = f"fc_{reply.seed}{index:02x}", item.arguments
    rest = f'"call_id":"call_{reply.seed[:22]}{index:02x}","name":{quote(item.name)}'
    where = f'"item_id":"{item_id}","output_index":{index}'

    def state(status: str, text: str) -> str:
        return f'{{"id":"{item_id}","type":"function_call","status":"{status}","arguments":{text},{rest}}}'

    yield reply.added(index, state("in_progress", '""'))
    pieces = [arguments[at : at + ARGUMENT_PIECE] for at in range(0, len(arguments), ARGUMENT_PIECE)]
    yield from reply.deltas("response.function_call_arguments.delta", where, pieces)
    yield reply.event("response.function_call_arguments.done", f'{where},"arguments":{quote(arguments)}')
    yield reply.done(index, state("completed", quote(arguments)))


def _web_search(reply: "Reply", index: int, item: WebSearch) -> Iterator[Step]:
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


def _code(reply: "Reply", index: int, item: CodeRun) -> Iterator[Step]:
    """The code is run between two events, which takes as long as it takes."""
    item_id, code = f"ci_{reply.seed}{index:02x}", quote(item.code)
    where = f'"output_index":{index},"item_id":"{item_id}"'
    container_id = item.container.id if item.container else ""

    def state(status: str, code: str, outputs: str = "null") -> str:
        return (
            f'{{"id":"{item_id}","type":"code_interpreter_call","status":"{status}","code":{code},'
            f'"container_id":"{container_id}","outputs":{outputs}}}'
        )

    yield reply.added(index, state("in_progress", '""'))
    yield reply.event("response.code_interpreter_call.in_progress", where)
    yield from reply.deltas("response.code_interpreter_call_code.delta", where, words(item.code))
    yield reply.event("response.code_interpreter_call_code.done", f'{where},"code":{code}')
    yield reply.event("response.code_interpreter_call.interpreting", where)
    yield 0.0  # what was said so far is sent before the code runs
    outcome = item.run()
    yield reply.event("response.code_interpreter_call.completed", where)
    shown = OUTPUTS in (reply.request.body.get("include") or ())
    outputs = json.dumps(item.outputs()) if shown else "null"
    yield reply.done(index, state("failed" if outcome.stopped else "completed", code, outputs))


def _report(reply: "Reply", index: int, item: Report) -> Iterator[Step]:
    text, annotations = item.text()
    pieces = truncated(words(text), reply.request, reply.plan)
    yield from _text(reply, index, Text(pieces, annotations=tuple(map(json.dumps, annotations))))


def _reasoning(reply: "Reply", index: int, item: Reasoning) -> Iterator[Step]:
    item_id, text = f"rs_{reply.seed}{index:02x}", quote("".join(item.pieces))
    where = f'"item_id":"{item_id}","output_index":{index},"summary_index":0'
    encrypted = "reasoning.encrypted_content" in (reply.request.body.get("include") or ())
    secret = ',"encrypted_content":"ZGVtbw=="' if encrypted else ""

    def part(text: str) -> str:
        return f'{{"type":"summary_text","text":{text}}}'

    yield reply.added(index, f'{{"id":"{item_id}","type":"reasoning","summary":[]{secret}}}')
    yield reply.event("response.reasoning_summary_part.added", f'{where},"part":{part(quote(""))}')
    yield from reply.deltas("response.reasoning_summary_text.delta", where, item.pieces)
    reply.reasoning_tokens += len(item.pieces)
    yield reply.event("response.reasoning_summary_text.done", f'{where},"text":{text}')
    yield reply.event("response.reasoning_summary_part.done", f'{where},"part":{part(text)}')
    yield reply.done(index, f'{{"id":"{item_id}","type":"reasoning","summary":[{part(text)}]{secret}}}')


EVENTS_OF: dict[type, Callable[["Reply", int, Any], Iterator[Step]]] = {
    Text: _text,
    Call: _call,
    WebSearch: _web_search,
    CodeRun: _code,
    Report: _report,
    Reasoning: _reasoning,
    images.GeneratedImage: images.events,
}
