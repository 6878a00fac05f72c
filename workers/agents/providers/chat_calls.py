"""The function calls of a chat completion, put together from deltas that may interleave, and may lack ids and indexes."""

import json
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any

from models.platform.ids import uuid7

Delta = dict[str, Any]


@dataclass(slots=True)
class Call:
    """`sent_id`: the server's id, "" without one. `call_id`: ours, the same unless that was missing or used before."""

    sent_id: str
    call_id: str
    output_index: int
    name: str = ""
    pieces: list[str] = field(default_factory=list)

    @property
    def item_id(self) -> str:
        return f"fc_{self.call_id}"

    def add(self, delta: Delta) -> str:
        """Add what a delta brings. Returns its piece of the arguments."""
        function = delta.get("function") or {}
        self.name = self.name or function.get("name") or ""
        piece = function.get("arguments") or ""
        text = piece if isinstance(piece, str) else json.dumps(piece)
        self.pieces.append(text)
        return text

    def arguments(self) -> str:
        return "".join(self.pieces) or "{}"

    def item(self, status: str, arguments: str) -> dict[str, Any]:
        return {
            "id": self.item_id,
            "type": "function_call",
            "status": status,
            "arguments": arguments,
            "call_id": self.call_id,
            "name": self.name,
        }


class Calls:
    """The calls of one response. `known`: ids that are taken."""

    def __init__(self, known: Container[str]) -> None:
        self.known = known
        self.all: list[Call] = []
        self.by_index: dict[Any, Call] = {}

    def continued_by(self, delta: Delta) -> Call | None:
        """The call that a delta belongs to. None if it begins a call.

        Usually the index says so. Where several calls share one, their ids differ. Without an index, a name begins a call.
        """
        index, sent_id = delta.get("index"), delta.get("id") or ""
        if index is None:
            return self._without_index(sent_id, (delta.get("function") or {}).get("name"))
        call = self.by_index.get(index)
        return None if call and sent_id and call.sent_id and sent_id != call.sent_id else call

    def _without_index(self, sent_id: str, name: str | None) -> Call | None:
        if sent_id:
            return next((call for call in self.all if call.sent_id == sent_id), None)
        return self.all[-1] if self.all and not name else None

    def begin(self, delta: Delta, output_index: int) -> Call:
        sent_id, name = delta.get("id") or "", (delta.get("function") or {}).get("name") or ""
        is_taken = not sent_id or sent_id in self.known or any(call.call_id == sent_id for call in self.all)
        call = Call(sent_id, f"call_{uuid7().hex}" if is_taken else sent_id, output_index, name)
        self.all.append(call)
        self.by_index[delta.get("index")] = call
        return call
