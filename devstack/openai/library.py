"""What is kept of files and vector stores: in memory, so a restart forgets it."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from devstack.openai.errors import ApiError, invalid

LARGEST_FILE = 64 * 1024 * 1024  # bytes; of the real service 512 MB
CHARACTERS = 4  # of a token, about
DAY = 86_400


def new_id(prefix: str) -> str:
    return f"{prefix}{os.urandom(12).hex()}"


def missing(what: str, identifier: str) -> ApiError:
    return ApiError(404, f"No {what} found with id '{identifier}'.")


@dataclass
class File:
    filename: str
    purpose: str
    data: bytes
    created_at: int
    id: str = field(default_factory=lambda: new_id("file-"))

    def show(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "file",
            "bytes": len(self.data),
            "created_at": self.created_at,
            "filename": self.filename,
            "purpose": self.purpose,
            "status": "processed",
            "expires_at": None,
            "status_details": None,
        }


@dataclass
class StoreFile:
    """A file in a store. It is `in_progress` until `ready_at`."""

    file: File
    store_id: str
    attributes: dict[str, Any]
    size: int  # tokens of a chunk
    overlap: int
    created_at: int
    ready_at: float
    state: str | None = None  # what a test wants it to be
    vectors: Any = None

    def __post_init__(self) -> None:
        try:
            text = self.file.data.decode()
        except UnicodeDecodeError:
            text = ""
        length, step = self.size * CHARACTERS, (self.size - self.overlap) * CHARACTERS
        self.chunks = [text[at : at + length] for at in range(0, len(text), step) if text[at : at + length].strip()]

    def status(self, now: float) -> str:
        if self.state:
            return self.state
        if now < self.ready_at:
            return "in_progress"
        return "completed" if self.chunks else "failed"

    def usage(self, now: float) -> int:
        return sum(len(chunk) for chunk in self.chunks) * 2 if self.status(now) == "completed" else 0

    def show(self, now: float) -> dict[str, Any]:
        status = self.status(now)
        why = {"code": "unsupported_file", "message": "The demo reads plain text only."} if status == "failed" else None
        return {
            "id": self.file.id,
            "object": "vector_store.file",
            "created_at": self.created_at,
            "vector_store_id": self.store_id,
            "usage_bytes": self.usage(now),
            "status": status,
            "last_error": why,
            "attributes": self.attributes,
            "chunking_strategy": {
                "type": "static",
                "static": {"max_chunk_size_tokens": self.size, "chunk_overlap_tokens": self.overlap},
            },
        }


@dataclass
class Store:
    name: str
    metadata: dict[str, str]
    days: int | None
    created_at: int
    last_active_at: int
    id: str = field(default_factory=lambda: new_id("vs_"))
    files: dict[str, StoreFile] = field(default_factory=dict)

    @property
    def expires_at(self) -> int | None:
        return None if self.days is None else self.last_active_at + self.days * DAY

    def is_expired(self, now: float) -> bool:
        return self.expires_at is not None and self.expires_at <= now

    def show(self, now: float) -> dict[str, Any]:
        states = [file.status(now) for file in self.files.values()]
        counts = {state: states.count(state) for state in ("in_progress", "completed", "failed", "cancelled")}
        busy = "in_progress" if counts["in_progress"] else "completed"
        return {
            "id": self.id,
            "object": "vector_store",
            "created_at": self.created_at,
            "name": self.name,
            "usage_bytes": sum(file.usage(now) for file in self.files.values()),
            "file_counts": {**counts, "total": len(states)},
            "status": "expired" if self.is_expired(now) else busy,
            "expires_after": None if self.days is None else {"anchor": "last_active_at", "days": self.days},
            "expires_at": self.expires_at,
            "last_active_at": self.last_active_at,
            "metadata": self.metadata,
        }


class Library:
    """All files and stores. `shift`: seconds by which its clock is ahead. `indexing`: seconds that a file takes."""

    def __init__(self) -> None:
        self.files: dict[str, File] = {}
        self.stores: dict[str, Store] = {}
        self.shift, self.indexing = 0.0, 0.05

    def now(self) -> float:
        return time.time() + self.shift

    def file(self, file_id: str) -> File:
        if file_id not in self.files:
            raise missing("such File object", file_id)
        return self.files[file_id]

    def store(self, store_id: str) -> Store:
        if store_id not in self.stores:
            raise missing("vector store", store_id)
        return self.stores[store_id]

    def store_file(self, store_id: str, file_id: str) -> StoreFile:
        store = self.store(store_id)
        if file_id not in store.files:
            raise missing("file", file_id)
        return store.files[file_id]


def paged(items: list[Any], show: Any, params: Mapping[str, Any], key: Any) -> dict[str, Any]:
    """A page of a list, as the SDK's cursor pages want it. `items`: the oldest first; `key`: an item's id."""
    try:
        limit = int(params.get("limit", 20))
    except ValueError:
        raise invalid("Invalid type for 'limit'.", "limit", "invalid_type") from None
    if not 1 <= limit <= 100:
        raise invalid("Invalid 'limit': integer out of range. Expected 1 to 100.", "limit", "integer_out_of_range")
    items = items[::-1] if params.get("order", "desc") == "desc" else items
    if after := params.get("after"):
        ids = [key(item) for item in items]
        items = items[ids.index(after) + 1 :] if after in ids else []
    page = [show(item) for item in items[:limit]]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": len(items) > limit,
    }
