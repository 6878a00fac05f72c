"""The chunks of a chat completion, as the events of a response."""

import time
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from models.platform.ids import uuid7
from workers.agents.providers.chat_calls import Call, Calls
from workers.agents.providers.errors import ProviderError, from_object

Event = dict[str, Any]
INCOMPLETE = {
    "length": "max_output_tokens",
    "content_filter": "content_filter",
}  # finish_reason -> the response's reason


class Kind(NamedTuple):
    """A text that is streamed: the type of its item, of its part, the part's key, and the names of its events."""

    item: str
    part: str
    key: str
    event: str
    part_event: str
    index_name: str


TEXT = Kind("message", "output_text", "text", "output_text", "content_part", "content_index")
REFUSAL = Kind("message", "refusal", "refusal", "refusal", "content_part", "content_index")
REASONING = Kind(
    "reasoning", "summary_text", "text", "reasoning_summary_text", "reasoning_summary_part", "summary_index"
)


@dataclass(slots=True)
class Text:
    """A text whose item is not complete."""

    kind: Kind
    where: dict[str, Any]  # the fields of its events
    delta: dict[str, Any]  # an event of it, without its number and piece
    pieces: list[str] = field(default_factory=list)


class ChatEvents:
    """`known_calls`: the ids of earlier calls in the conversation, which a call must not repeat."""

    def __init__(self, model: str, known_calls: Container[str] = ()) -> None:
        self.response: dict[str, Any] = {"id": None, "model": model}
        self.output: list[dict[str, Any] | None] = []  # None: the item is not complete
        self.text: Text | None = None
        self.calls = Calls(known_calls)
        self.usage: dict[str, Any] | None = None
        self.finish_reason: str | None = None
        self.number = 0

    @property
    def has_finished(self) -> bool:
        """Whether the answer is complete, whatever becomes of the connection: its last chunks bring no text."""
        return self.finish_reason not in (None, "error")

    def of(self, chunk: dict[str, Any]) -> Iterator[Event]:
        """The events of one chunk. ProviderError if it says that the answer failed."""
        if chunk.get("error"):
            raise from_object(chunk["error"])
        if self.response["id"] is None:
            yield from self._created(chunk)
        self.usage = chunk.get("usage") or self.usage  # some servers send it with every chunk
        for choice in (chunk.get("choices") or ())[:1]:
            # A server that does not stream sends the whole message. Some send it beside the deltas.
            yield from self._delta(choice.get("delta" if "delta" in choice else "message") or {})
            self.finish_reason = choice.get("finish_reason") or self.finish_reason

    def end(self) -> Iterator[Event]:
        """The last events, when the stream has come to its end. ProviderError if the answer failed."""
        if self.finish_reason == "error":
            raise ProviderError("provider_failed", is_curable=True)
        yield from self._text_done()
        for call in self.calls.all:
            yield from self._call_done(call)
        reason = INCOMPLETE.get(self.finish_reason or "")
        status = "incomplete" if reason else "completed"
        details = {"reason": reason} if reason else None
        output = [item for item in self.output if item]
        response = {"status": status, "output": output, "usage": _usage(self.usage), "incomplete_details": details}
        yield self._event(f"response.{status}", response={**self.response, **response})

    # ------------------------------------------------------------- the response

    def _event(self, kind: str, **fields: Any) -> Event:
        number, self.number = self.number, self.number + 1
        return {"type": kind, "sequence_number": number, **fields}

    def _created(self, chunk: dict[str, Any]) -> Iterator[Event]:
        self.response = {
            "id": chunk.get("id") or f"chatcmpl-{uuid7().hex}",
            "object": "response",
            "created_at": chunk.get("created") or int(time.time()),
            "model": chunk.get("model") or self.response["model"],
            "error": None,
        }
        started = {**self.response, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
        yield self._event("response.created", response=started)
        yield self._event("response.in_progress", response=started)

    def _delta(self, delta: dict[str, Any]) -> Iterator[Event]:
        # Compatible servers have one of two names for it, or both with the same text.
        if reasoning := delta.get("reasoning_content") or delta.get("reasoning"):
            yield from self._add(REASONING, reasoning)
        if content := delta.get("content"):
            if isinstance(content, str):
                yield from self._add(TEXT, content)
            else:
                yield from self._parts(content)
        if refusal := delta.get("refusal"):
            yield from self._add(REFUSAL, refusal)
        for call in delta.get("tool_calls") or ():
            yield from self._call_delta(call)

    def _parts(self, parts: list[dict[str, Any]]) -> Iterator[Event]:
        """Some servers send lists of parts: texts, and thoughts that are lists of texts."""
        for part in parts:
            if part["type"] == "text":
                yield from self._add(TEXT, part["text"])
            elif part["type"] == "thinking":
                for thought in part["thinking"]:
                    yield from self._add(REASONING, thought["text"])

    # ------------------------------------------------------------- texts

    def _add(self, kind: Kind, piece: str) -> Iterator[Event]:
        text = self.text
        if text is None or text.kind is not kind:
            yield from self._text_done()
            text = self.text = self._new_text(kind)
            yield from self._text_added(text)
        text.pieces.append(piece)
        number, self.number = self.number, self.number + 1
        yield {**text.delta, "sequence_number": number, "delta": piece}

    def _new_text(self, kind: Kind) -> Text:
        index = self._begin_item()
        where = {"item_id": f"{kind.item}_{self.response['id']}_{index}", "output_index": index, kind.index_name: 0}
        delta = {"type": f"response.{kind.event}.delta", **where}
        return Text(kind, where, {**delta, "logprobs": []} if kind is TEXT else delta)

    def _text_added(self, text: Text) -> Iterator[Event]:
        kind, where = text.kind, text.where
        item = _item(kind, where["item_id"], [], "in_progress")
        yield self._event("response.output_item.added", output_index=where["output_index"], item=item)
        yield self._event(f"response.{kind.part_event}.added", **where, part=_part(kind, ""))

    def _text_done(self) -> Iterator[Event]:
        if self.text is None:
            return
        kind, where, whole = self.text.kind, self.text.where, "".join(self.text.pieces)
        self.text = None
        yield self._event(f"response.{kind.event}.done", **where, **{kind.key: whole})
        yield self._event(f"response.{kind.part_event}.done", **where, part=_part(kind, whole))
        status = "incomplete" if self.finish_reason in INCOMPLETE else "completed"
        yield self._item_done(where["output_index"], _item(kind, where["item_id"], [_part(kind, whole)], status))

    def _begin_item(self) -> int:
        self.output.append(None)
        return len(self.output) - 1

    def _item_done(self, index: int, item: dict[str, Any]) -> Event:
        self.output[index] = item
        return self._event("response.output_item.done", output_index=index, item=item)

    # ------------------------------------------------------------- calls

    def _call_delta(self, delta: dict[str, Any]) -> Iterator[Event]:
        call = self.calls.continued_by(delta)
        if call is None:
            yield from self._text_done()
            call = self.calls.begin(delta, self._begin_item())
            yield self._event(
                "response.output_item.added", output_index=call.output_index, item=call.item("in_progress", "")
            )
        if piece := call.add(delta):
            where = {"item_id": call.item_id, "output_index": call.output_index}
            yield self._event("response.function_call_arguments.delta", **where, delta=piece)

    def _call_done(self, call: Call) -> Iterator[Event]:
        arguments, index = call.arguments(), call.output_index
        where = {"item_id": call.item_id, "output_index": index}
        yield self._event("response.function_call_arguments.done", **where, arguments=arguments)
        yield self._item_done(index, call.item("completed", arguments))


def _item(kind: Kind, item_id: str, parts: list[dict[str, Any]], status: str) -> dict[str, Any]:
    if kind is REASONING:
        return {"id": item_id, "type": "reasoning", "summary": parts}
    return {"id": item_id, "type": "message", "status": status, "content": parts, "role": "assistant"}


def _part(kind: Kind, text: str) -> dict[str, Any]:
    more: dict[str, Any] = {"annotations": [], "logprobs": []} if kind is TEXT else {}
    return {"type": kind.part, **more, kind.key: text}


def _usage(usage: dict[str, Any] | None) -> dict[str, Any] | None:
    if usage is None:
        return None
    sent, received = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    reasoning = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    return {
        "input_tokens": sent,
        "input_tokens_details": {"cached_tokens": cached},
        "output_tokens": received,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": usage.get("total_tokens") or sent + received,
    }
