"""Write a plan as the chunks of a streamed chat completion, or as one object, in JSON.

PERF: the stand-in shares its cores with the product, so JSON is built from prepared pieces, not from objects.
"""

import os
import time
from collections.abc import Iterator, Sequence
from itertools import chain, zip_longest
from json.encoder import encode_basestring_ascii as quote

from devstack.openai.chat_request import ChatRequest
from devstack.openai.items import ARGUMENT_PIECE, DROP, HANG_SECONDS, Step
from devstack.openai.script import Call, Plan, Reasoning, Text

_ERROR = (
    '{"error":{"message":"The demo model was asked to fail.","type":"server_error","param":null,"code":"server_error"}}'
)
_FINISH = {"max_output_tokens": "length", "content_filter": "content_filter"}


class ChatReply:
    """One completion. After `steps()` is exhausted, `final` is the complete object as JSON."""

    def __init__(self, request: ChatRequest, plan: Plan) -> None:
        self.request, self.plan, self.quirks = request, plan, plan.quirks
        self.seed, self.created = os.urandom(15).hex(), int(time.time())
        self.calls = [item for item in plan.items if isinstance(item, Call)]
        self.tokens = self.reasoning_tokens = 0
        self.streamed = request.stream and "no_stream" not in self.quirks
        self.final = ""

    def steps(self) -> Iterator[Step]:
        """The chunks in order, with the waits between them."""
        if "empty_choices" in self.quirks:
            yield self._line(f'{self._head("chat.completion.chunk")},"choices":[]{self._usage_so_far()}')
        yield self._chunk('{"role":"assistant","content":"","refusal":null}')
        if self.plan.hang:
            yield HANG_SECONDS
            yield DROP
        if self.plan.slow:
            yield self.plan.slow
        for item in self.plan.items:
            if isinstance(item, Reasoning):
                yield from self._reasoning(item)
            elif isinstance(item, Text):
                yield from self._text(item)
        yield from self._tool_calls()
        yield from self._ending()

    # ------------------------------------------------------------- chunks

    def _line(self, fields: str) -> str:
        comment = ": keep-alive\n\n" if "keep_alive" in self.quirks else ""
        return f"{comment}data: {{{fields}}}\n\n"

    def _head(self, kind: str) -> str:
        if "no_id" in self.quirks:
            return f'"object":"{kind}"'
        return (
            f'"id":"chatcmpl-{self.seed}","object":"{kind}","created":{self.created},'
            f'"model":{quote(self.request.body["model"])},"service_tier":"default","system_fingerprint":"fp_demo"'
        )

    def _around(self) -> tuple[str, str]:
        """What stands before and after the delta of a chunk."""
        head = f'{self._head("chat.completion.chunk")},"choices":[{{"index":0,"delta":'
        return head, f',"logprobs":null,"finish_reason":null}}]{self._usage_so_far()}'

    def _usage_so_far(self) -> str:
        if "usage_each" in self.quirks:
            return f',"usage":{self._usage()}'
        return ',"usage":null' if self.request.include_usage and "no_usage" not in self.quirks else ""

    def _chunk(self, delta: str) -> str:
        before, after = self._around()
        return self._line(f"{before}{delta}{after}")

    def _deltas(self, start: str, pieces: Sequence[str], end: str) -> Iterator[Step]:
        """One chunk per piece, the plan's `delay` apart; the first comes at once."""
        before, after = self._around()
        comment, delay = (": keep-alive\n\n" if "keep_alive" in self.quirks else ""), self.plan.delay
        before, after = f"{comment}data: {{{before}{start}", f"{end}{after}}}\n\n"
        for at, piece in enumerate(pieces):
            if delay and at:
                yield delay
            yield f"{before}{quote(piece)}{after}"
        self.tokens += len(pieces)

    def _reasoning(self, item: Reasoning) -> Iterator[Step]:
        if "thinking_parts" in self.quirks:
            start = '{"content":[{"type":"thinking","thinking":[{"type":"text","text":'
            yield from self._deltas(start, item.pieces, "}]}]}")
        else:
            name = "reasoning" if "reasoning_field" in self.quirks else "reasoning_content"
            yield from self._deltas(f'{{"{name}":', item.pieces, "}")
        self.reasoning_tokens += len(item.pieces)

    def _text(self, item: Text) -> Iterator[Step]:
        cut = self.plan.cut
        name = "refusal" if item.refusal else "content"
        yield from self._deltas(f'{{"{name}":', item.pieces if cut is None else item.pieces[:cut], "}")
        if cut is not None:
            yield DROP

    # ------------------------------------------------------------- calls

    def _tool_calls(self) -> Iterator[Step]:
        if "whole_calls" in self.quirks and self.calls:
            whole = ",".join(self._call(at, quote(call.arguments)) for at, call in enumerate(self.calls))
            yield self._chunk(f'{{"tool_calls":[{whole}]}}')
            return
        streams = [self._call_chunks(at, call) for at, call in enumerate(self.calls)]
        if "interleaved" in self.quirks:
            yield from (chunk for chunk in chain(*zip_longest(*streams)) if chunk)
        else:
            yield from chain(*streams)

    def _call_chunks(self, at: int, call: Call) -> Iterator[str]:
        yield self._chunk(f'{{"tool_calls":[{self._call(at, quote(""))}]}}')
        for start in range(0, len(call.arguments), ARGUMENT_PIECE):
            piece = quote(call.arguments[start : start + ARGUMENT_PIECE])
            yield self._chunk(f'{{"tool_calls":[{{{self._index(at)}"function":{{"arguments":{piece}}}}}]}}')
            self.tokens += 1

    def _index(self, at: int) -> str:
        if "no_index" in self.quirks:
            return ""
        return f'"index":{0 if "zero_index" in self.quirks else at},'

    def _call(self, at: int, arguments: str, *, streamed: bool = True) -> str:
        call_id = "" if "no_call_ids" in self.quirks else f'"id":"{self._call_id(at)}",'
        index = self._index(at) if streamed else ""
        function = f'{{"name":{quote(self.calls[at].name)},"arguments":{arguments}}}'
        return f'{{{index}{call_id}"type":"function","function":{function}}}'

    def _call_id(self, at: int) -> str:
        return f"call_{at}" if "same_call_ids" in self.quirks else f"call_{self.seed[:22]}{at:02x}"

    # ------------------------------------------------------------- the end

    def _ending(self) -> Iterator[Step]:
        if self.plan.ending in ("failed", "error"):
            self.final = _ERROR
            yield f"data: {_ERROR}\n\n"
            return
        self.final = self._whole()
        if "no_finish" not in self.quirks:
            before, _ = self._around()
            finish = f'{{}},"logprobs":null,"finish_reason":"{self._finish_reason()}"}}]{self._usage_so_far()}'
            yield self._line(f"{before}{finish}")
        if self.request.include_usage and not {"no_usage", "usage_each"} & self.quirks:
            yield self._line(f'{self._head("chat.completion.chunk")},"choices":[],"usage":{self._usage()}')
        if "no_done" not in self.quirks:
            yield "data: [DONE]\n\n"

    def _finish_reason(self) -> str:
        if self.plan.ending == "incomplete":
            return _FINISH[self.plan.reason]
        return "tool_calls" if self.calls and "stop_for_calls" not in self.quirks else "stop"

    def _usage(self) -> str:
        sent = self.request.size // 4 + 1  # an estimate
        return (
            f'{{"prompt_tokens":{sent},"completion_tokens":{self.tokens},"total_tokens":{sent + self.tokens},'
            '"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},'
            f'"completion_tokens_details":{{"reasoning_tokens":{self.reasoning_tokens},"audio_tokens":0,'
            '"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}'
        )

    def _whole(self) -> str:
        usage = "" if "no_usage" in self.quirks else f',"usage":{self._usage()}'
        choice = (
            f'{{"index":0,"message":{{{self._message()}}},"logprobs":null,"finish_reason":"{self._finish_reason()}"}}'
        )
        return f'{{{self._head("chat.completion")},"choices":[{choice}]{usage}}}'

    def _message(self) -> str:
        texts = [item for item in self.plan.items if isinstance(item, Text)]
        said = "".join(piece for item in texts for piece in item.pieces if not item.refusal)
        refused = "".join(piece for item in texts for piece in item.pieces if item.refusal)
        thought = "".join(piece for item in self.plan.items if isinstance(item, Reasoning) for piece in item.pieces)
        calls = ",".join(self._call(at, quote(call.arguments), streamed=False) for at, call in enumerate(self.calls))
        content = quote(said) if said or not (calls or refused) else "null"
        reasoning = f',"reasoning_content":{quote(thought)}' if thought else ""
        tool_calls = f',"tool_calls":[{calls}]' if calls else ""
        refusal = quote(refused) if refused else "null"
        return f'"role":"assistant","content":{content},"refusal":{refusal},"annotations":[]{reasoning}{tool_calls}'
