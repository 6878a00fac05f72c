"""Write a plan as the events of a streamed response, or as one response object, in JSON.

PERF: the stand-in shares its cores with the product, so JSON is built from prepared pieces, not from objects.
"""

import os
import time
from collections.abc import Iterator, Sequence
from json.encoder import encode_basestring_ascii as quote

from devstack.openai.echo import echo
from devstack.openai.items import DROP, EVENTS_OF, HANG_SECONDS, Step
from devstack.openai.request import Request
from devstack.openai.script import Plan

_ERROR = '"code":"server_error","message":"The demo model was asked to fail."'
_NO_USAGE = '"usage":null'


class Reply:
    """One response. After `steps()` is exhausted, `final` is the complete response object as JSON."""

    def __init__(self, request: Request, plan: Plan) -> None:
        self.request, self.plan = request, plan
        self.seed = os.urandom(20).hex()
        self.number = 0
        self.output: list[str] = []
        self.tokens = self.reasoning_tokens = 0
        self.created = int(time.time())
        self.tail = echo(request)
        self.streamed = request.stream
        self.final = ""

    def steps(self) -> Iterator[Step]:
        """The events in order, with the waits between them."""
        started = f'"response":{self.response("in_progress")}'
        yield self.event("response.created", started)
        yield self.event("response.in_progress", started)
        if self.plan.hang:
            yield HANG_SECONDS
            yield DROP
        if self.plan.slow:
            yield self.plan.slow
        for index, item in enumerate(self.plan.items):
            yield from EVENTS_OF[type(item)](self, index, item)
        yield self.ending()

    def event(self, kind: str, rest: str) -> str:
        """The next event of the stream. `rest` is the JSON of its other fields, without braces."""
        number = self.number
        self.number = number + 1
        return f'event: {kind}\ndata: {{"type":"{kind}","sequence_number":{number},{rest}}}\n\n'

    def deltas(self, kind: str, where: str, pieces: Sequence[str], rest: str = "") -> Iterator[Step]:
        """One event per piece, the plan's `delay` apart; the first comes at once."""
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
        ended = status != "in_progress"
        return (
            f'{{"id":"resp_{self.seed}","object":"response","created_at":{self.created},"status":"{status}",'
            f'"completed_at":{int(time.time()) if status == "completed" else "null"},'
            f'"error":{f"{{{_ERROR}}}" if status == "failed" else "null"},'
            f'"incomplete_details":{self.incomplete() if status == "incomplete" else "null"},'
            f'"output":[{",".join(self.output) if ended else ""}],'
            f"{self.usage() if ended and status != 'failed' else _NO_USAGE},{self.tail}}}"
        )

    def incomplete(self) -> str:
        return f'{{"reason":"{self.plan.reason}"}}'

    def usage(self) -> str:
        input_tokens = self.request.size // 4 + 1  # an estimate
        return (
            f'"usage":{{"input_tokens":{input_tokens},"input_tokens_details":{{"cached_tokens":0,"cache_write_tokens":0}},'
            f'"output_tokens":{self.tokens},"output_tokens_details":{{"reasoning_tokens":{self.reasoning_tokens}}},'
            f'"total_tokens":{input_tokens + self.tokens}}}'
        )
