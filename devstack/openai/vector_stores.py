"""/v1/vector_stores: stores, their files, and a real search by WordLlama."""

import json
from typing import Any

import falcon
from gevent.threadpool import ThreadPool

from devstack.openai import embeddings
from devstack.openai.errors import ApiError, invalid, missing, wrong_type
from devstack.openai.library import Library, Store, StoreFile, paged
from devstack.openai.request import parse

MOST_PAIRS, LONGEST_KEY, LONGEST_TEXT, LONGEST_QUERY = 16, 64, 512, 4096
RANKERS = ("auto", "none", "default-2024-11-15")
AUTO = (800, 400)  # tokens of a chunk, and of its overlap with the next
ORDERS = {
    "gt": lambda a, b: a > b,
    "gte": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "lte": lambda a, b: a <= b,
}


class VectorStores:
    def __init__(self, library: Library) -> None:
        self.library, self.thread = library, ThreadPool(1)  # computing in a thread keeps the streams running

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        body, now = parse(req.stream.read()), int(self.library.now())
        store = Store(body.get("name") or "", _pairs(body, "metadata", str), _days(body), now, now)
        self.library.stores[store.id] = store
        resp.media = store.show(now)

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        now = self.library.now()
        stores = list(self.library.stores.values())
        resp.media = paged(stores, lambda store: store.show(now), req.params, lambda store: store.id)

    def on_get_one(self, req: falcon.Request, resp: falcon.Response, store_id: str) -> None:
        resp.media = self.library.store(store_id).show(self.library.now())

    def on_delete_one(self, req: falcon.Request, resp: falcon.Response, store_id: str) -> None:
        self.library.store(store_id)
        del self.library.stores[store_id]
        resp.media = {"id": store_id, "object": "vector_store.deleted", "deleted": True}

    def on_post_search(self, req: falcon.Request, resp: falcon.Response, store_id: str) -> None:
        store, body = self.library.store(store_id), parse(req.stream.read())
        query, limit, threshold = _query(body)
        now = self.library.now()
        if store.is_expired(now):
            raise invalid("The vector store has expired.", None, "vector_store_expired")
        store.last_active_at = int(now)
        wanted = body.get("filters")
        files = [
            file
            for file in store.files.values()
            if file.status(now) == "completed" and (not wanted or matches(wanted, file.attributes))
        ]
        hits = self.thread.apply(_search, (files, query)) if files else []
        resp.media = {
            "object": "vector_store.search_results.page",
            "search_query": [query],
            "data": [hit for hit in hits if hit["score"] >= threshold][:limit],
            "has_more": False,
            "next_page": None,
        }


class VectorStoreFiles:
    def __init__(self, library: Library) -> None:
        self.library = library

    def on_post(self, req: falcon.Request, resp: falcon.Response, store_id: str) -> None:
        body, store, now = parse(req.stream.read()), self.library.store(store_id), self.library.now()
        if not body.get("file_id"):
            raise missing("file_id")
        if store.is_expired(now):
            raise invalid("The vector store has expired.", None, "vector_store_expired")
        file = self.library.file(body["file_id"])
        size, overlap = _chunks(body.get("chunking_strategy"))
        attributes = _pairs(body, "attributes", str, int, float, bool)
        ready_at = now + self.library.indexing
        entry = StoreFile(file, store.id, attributes, size, overlap, int(now), ready_at)
        store.files[file.id] = entry
        store.last_active_at = int(now)
        resp.media = entry.show(now)

    def on_get(self, req: falcon.Request, resp: falcon.Response, store_id: str) -> None:
        now = self.library.now()
        files = list(self.library.store(store_id).files.values())
        resp.media = paged(files, lambda file: file.show(now), req.params, lambda file: file.file.id)

    def on_get_one(self, req: falcon.Request, resp: falcon.Response, store_id: str, file_id: str) -> None:
        resp.media = self.library.store_file(store_id, file_id).show(self.library.now())

    def on_delete_one(self, req: falcon.Request, resp: falcon.Response, store_id: str, file_id: str) -> None:
        self.library.store_file(store_id, file_id)
        del self.library.store(store_id).files[file_id]
        resp.media = {"id": file_id, "object": "vector_store.file.deleted", "deleted": True}


class Control:
    """What tests change behind the API's back: the clock, how long indexing takes, the state of a file, and all of it."""

    def __init__(self, library: Library) -> None:
        self.library = library

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        wish = json.loads(req.stream.read())
        for name in ("shift", "indexing"):
            if name in wish:
                setattr(self.library, name, float(wish[name]))
        if "state" in wish:
            self.library.store_file(wish["store"], wish["file"]).state = wish["state"]
        if wish.get("forget"):
            self.library.files.clear()
            self.library.stores.clear()
        resp.media = {"stores": len(self.library.stores), "files": len(self.library.files)}


def matches(wanted: Any, attributes: dict[str, Any]) -> bool:
    """Whether a file with these attributes passes the filter. ApiError 400 if it is none."""
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind in ("and", "or"):
        found = [matches(each, attributes) for each in wanted.get("filters") or ()]
        return all(found) if kind == "and" else any(found)
    if kind not in ("eq", "ne", "in", "nin", *ORDERS) or "key" not in wanted or "value" not in wanted:
        raise invalid("Invalid filter.", "filters", "invalid_value")
    own, value = attributes.get(wanted["key"]), wanted["value"]
    if kind in ("in", "nin"):
        return bool((own in value) == (kind == "in"))
    if kind in ("eq", "ne"):
        return bool((own == value) == (kind == "eq"))
    alike = isinstance(own, str) == isinstance(value, str)
    return own is not None and alike and bool(ORDERS[kind](own, value))


def _search(files: list[StoreFile], query: str) -> list[dict[str, Any]]:
    """Every chunk with its similarity, the best first."""
    for file in files:
        if file.vectors is None:
            file.vectors = embeddings.vectors(file.chunks, embeddings.DIMENSIONS)
    asked = embeddings.vectors([query], embeddings.DIMENSIONS)[0]
    hits = [
        {
            "file_id": file.file.id,
            "filename": file.file.filename,
            "score": max(0.0, min(1.0, float(similarity))),
            "attributes": file.attributes,
            "content": [{"type": "text", "text": chunk}],
        }
        for file in files
        for chunk, similarity in zip(file.chunks, file.vectors @ asked, strict=True)
    ]
    return sorted(hits, key=lambda hit: -hit["score"])


def _query(body: dict[str, Any]) -> tuple[str, int, float]:
    """(query, most results, lowest score)"""
    query, limit, ranking = body.get("query"), body.get("max_num_results", 10), body.get("ranking_options") or {}
    if not query:
        raise missing("query")
    if not isinstance(query, str):
        raise wrong_type("query", "a string", query)
    if len(query) > LONGEST_QUERY:
        raise invalid("Invalid 'query': string too long.", "query", "string_above_max_length")
    if not isinstance(limit, int) or not 1 <= limit <= 50:
        raise invalid("Invalid 'max_num_results'. Expected 1 to 50.", "max_num_results", "integer_out_of_range")
    if ranking.get("ranker", "auto") not in RANKERS:
        raise invalid("Invalid value for 'ranker'.", "ranking_options.ranker", "invalid_value")
    return query, limit, float(ranking.get("score_threshold") or 0)


def _chunks(strategy: Any) -> tuple[int, int]:
    if not strategy or strategy.get("type") == "auto":
        return AUTO
    wanted = strategy.get("static") or {}
    size, overlap = wanted.get("max_chunk_size_tokens"), wanted.get("chunk_overlap_tokens")
    if (
        not isinstance(size, int)
        or not isinstance(overlap, int)
        or not 100 <= size <= 4096
        or not 0 <= overlap * 2 <= size
    ):
        raise invalid("Invalid chunking strategy.", "chunking_strategy", "invalid_value")
    return size, overlap


def _days(body: dict[str, Any]) -> int | None:
    wanted = body.get("expires_after")
    if wanted is None:
        return None
    days = wanted.get("days")
    if wanted.get("anchor") != "last_active_at" or not isinstance(days, int) or not 1 <= days <= 365:
        raise invalid("Invalid 'expires_after'.", "expires_after", "invalid_value")
    return days


def _pairs(body: dict[str, Any], name: str, *kinds: type) -> dict[str, Any]:
    pairs = body.get(name) or {}
    if not isinstance(pairs, dict):
        raise wrong_type(name, "an object", pairs)
    if len(pairs) > MOST_PAIRS:
        raise ApiError(400, f"Invalid '{name}': too many properties.", param=name, code="object_above_max_properties")
    for key, value in pairs.items():
        if (
            len(key) > LONGEST_KEY
            or not isinstance(value, kinds)
            or (isinstance(value, str) and len(value) > LONGEST_TEXT)
        ):
            raise invalid(f"Invalid '{name}.{key}'.", f"{name}.{key}", "invalid_value")
    return pairs
