"""What a provider's tools have made, kept in storage: generated images, and what the code interpreter has written.

An object is named by its place in the run, so that a worker that comes after a killed one finds it and makes no second one.
What cannot be kept is told to the client, and fails no run.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from models.conversations.attachments import attachment_of
from models.platform.database import release
from models.platform.errors import DomainError
from models.platform.settings import settings
from workers import metrics
from workers.agents.attachments import Attachment
from workers.agents.items import Item
from workers.agents.made import Refused, decoded, decoded_url, downloaded
from workers.agents.providers.client import Wait
from workers.agents.turn import Turn

log = logging.getLogger(__name__)
PAUSES = (0.5, 1.0, 2.0)  # seconds, before the storage is asked again
PATIENCE = 10.0  # seconds: a storage that was silent for longer is not asked again, for the answer waits for it


class Made(NamedTuple):
    """`slot`: its place in the response. `read()` returns its bytes and their type, or raises Refused."""

    slot: str
    call_id: str
    filename: str
    read: Callable[[], tuple[bytes, str]]
    metadata: dict[str, Any]


@dataclass(slots=True)
class Kept:
    """`failures`: {tool_call_id, filename, reason}."""

    attachments: list[Attachment] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of_json(cls, response: dict[str, Any]) -> "Kept":
        """As a journaled response has it."""
        return cls(response.get("attachments") or [], response.get("failures") or [])

    def as_json(self) -> dict[str, Any]:
        more = {"attachments": self.attachments, "failures": self.failures}
        return {name: value for name, value in more.items() if value}

    def add(self, other: "Kept") -> None:
        self.attachments += other.attachments
        self.failures += other.failures

    def of_call(self, call_id: str | None) -> "Kept":
        """What the call with this id has made."""

        def own(listed: list[dict[str, Any]]) -> list[dict[str, Any]]:
            return [one for one in listed if one.get("tool_call_id") == call_id]

        return Kept(own(self.attachments), own(self.failures))


class Ingestion:
    """Keeps what the responses of one scope of a run bring."""

    def __init__(self, turn: Turn, run_id: UUID, scope: str, wait: Wait) -> None:
        self.turn, self.run_id, self.scope, self.wait = turn, run_id, scope, wait
        self.response_id: str | None = None  # of the response that is being read
        self.is_storage_silent = False
        self.digests: set[bytes] = (
            set()
        )  # of what was kept: a figure is both an output of the code and a file of its container

    def keep(self, number: int, index: int, item: Item) -> Kept:
        """What the item with this index, of the response with this number, has made."""
        kept = Kept()
        for made in _made_by(item, self.response_id):
            source = f"made:{self.run_id}:{self.scope}:{number}:{index}:{made.slot}"
            try:
                with self.wait():
                    data, mime_type = made.read()
                    digest = hashlib.sha256(data).digest()
                    if digest not in self.digests:
                        kept.attachments.append(self._store(source, made, data, mime_type))
                        self.digests.add(digest)
            except Refused as refusal:
                kept.failures.append(
                    {"tool_call_id": made.call_id, "filename": made.filename, "reason": refusal.reason}
                )
                log.warning("attachment.not_kept", extra={"run_id": str(self.run_id), "reason": refusal.reason})
            finally:
                release()
        for outcome, number_of in (("stored", len(kept.attachments)), ("refused", len(kept.failures))):
            metrics.ATTACHMENTS_MADE.labels(outcome).inc(number_of)
        return kept

    def _store(self, source: str, made: Made, data: bytes, mime_type: str) -> Attachment:
        from workers.gateways.storage import StorageUnavailable
        from workers.storage.writing import store

        request = self.turn.request
        if self.is_storage_silent:
            raise Refused("storage_unavailable")
        started = time.monotonic()
        for pause in (*PAUSES, None):
            try:
                stored = store(
                    request.tenant_id,
                    name=made.filename,
                    data=data,
                    mime_type=mime_type,
                    source=source,
                    creator_id=request.user_id,
                    conversation_id=request.conversation_row,
                    agent_key=self.turn.agent.key,
                    metadata={**made.metadata, "tool_call_id": made.call_id, "size_bytes": len(data)},
                )
                return attachment_of(stored, made.call_id)
            except StorageUnavailable:
                release()
                self.is_storage_silent = time.monotonic() - started > PATIENCE
                if pause is None or self.is_storage_silent:
                    raise Refused("storage_unavailable") from None
                time.sleep(pause)
            except DomainError as error:  # a quota, or a type that may not be stored
                raise Refused(error.code) from None
        raise AssertionError("unreachable")


def _made_by(item: Item, response_id: str | None) -> Iterator[Made]:
    kind = item.get("type")
    if kind == "image_generation_call" and item.get("result"):
        name = f"image-{item['id']}.{item.get('output_format') or settings.image_default_format}"
        fields = {"format": "output_format", "quality": "quality", "background": "background"}
        metadata = {key: item[value] for key, value in fields.items() if item.get(value)}
        if response_id:
            metadata["response_id"] = response_id
        yield Made("image", item["id"], name, lambda: decoded(item["result"]), metadata)
    elif kind == "code_interpreter_call":
        pictures = [output["url"] for output in item.get("outputs") or () if output.get("type") == "image"]
        for number, url in enumerate(pictures):
            name = f"figure-{item['id']}-{number}.png"
            yield Made(str(number), item["id"], name, partial(decoded_url, url), {})
    elif kind == "message":
        for file in _cited_files(item):
            where = {"container_id": file["container_id"], "file_id": file["file_id"]}
            slot = hashlib.sha256(file["filename"].encode()).hexdigest()[:16]
            yield Made(slot, file["file_id"], file["filename"], partial(downloaded, file), where)


def _cited_files(message: Item) -> list[Item]:
    """The files in containers that a message names, each once."""
    parts = [part for part in message["content"] if part["type"] == "output_text"]
    named = [one for part in parts for one in part.get("annotations") or () if one["type"] == "container_file_citation"]
    return list({one["file_id"]: {**one, "filename": one.get("filename") or one["file_id"]} for one in named}.values())
