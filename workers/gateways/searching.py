"""Searching a vector store, whichever engine it has: counted, and answered within a few seconds. For the edge and for agents."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from uuid import UUID

from models.billing.quotas import Guard, settle
from models.platform.database import database, release, transaction
from models.platform.ids import uuid7
from models.platform.settings import settings
from models.runs import usage
from models.runs.usage import EMBEDDING_TOKENS, SEARCHES
from models.vector_stores import filters, ranking
from models.vector_stores.files import ProviderFile, VectorStoreFile
from models.vector_stores.search import search as search_ours
from models.vector_stores.stores import OPENAI, StoreNotReady, VectorStore
from workers.gateways.embeddings import embed

if TYPE_CHECKING:
    from openai.types import VectorStoreSearchResponse

SECONDS = 5.0  # for the embedding of a query, or for the provider's whole search
RESERVED = {SEARCHES: 1, EMBEDDING_TOKENS: 0}


@dataclass(frozen=True, slots=True)
class Query:
    """`filters`, `ranking_options`: as a client sends them. `limit`: 1 to 50 results."""

    text: str
    filters: dict[str, Any] | None = None
    limit: int = 10
    ranking_options: dict[str, Any] | None = None


class Result(NamedTuple):
    """A part of a file. `page`: from 1; None if the file has no pages, or the provider does not say."""

    file: VectorStoreFile
    score: float
    text: str
    page: int | None = None


class Found(NamedTuple):
    query: Query
    results: list[Result]

    def page(self) -> dict[str, Any]:
        """As the provider's API answers."""
        return {
            "object": "vector_store.search_results.page",
            "search_query": [self.query.text],
            "data": [
                {
                    "file_id": one.file.file_id,
                    "filename": one.file.filename,
                    "score": one.score,
                    "attributes": one.file.attributes,
                    "content": [{"type": "text", "text": one.text}],
                }
                for one in self.results
            ],
            "has_more": False,
            "next_page": None,
        }


def search(store: VectorStore, query: Query, guard: Guard | None = None) -> Found:
    """The best parts of the store's files. The caller has found the store as one that may be read.

    InvalidFilters, InvalidRanking (422); StoreExpired, StoreFailed, StoreNotReady (409); UsageLimitExceeded; EmbeddingsFailed
    or openai.ProviderError, within SECONDS. No database connection is held while others are waited for.
    """
    store.require_usable()
    filters.parse(query.filters)
    ranking.parse(query.ranking_options)
    if store.engine == OPENAI and store.provider_id is None:
        raise StoreNotReady()
    engine = _at_provider if store.engine == OPENAI else _in_ours
    found = _metered(store.tenant_id, guard or guard_of(store.tenant_id), lambda: engine(store, query))
    store.touch()
    return found


def guard_of(tenant_id: UUID) -> Guard:
    """What a search reserves."""
    return Guard(tenant_id, uuid7(), RESERVED, is_run=False)


def _metered(tenant_id: UUID, guard: Guard, look: Callable[[], tuple[Found, int]]) -> Found:
    """Count a search that has found something or nothing, but not one that failed."""
    if guard.is_on:
        guard.begin(guard.reserve)
    used: dict[str, int] = {}
    release()
    try:
        found, tokens = look()
        used = {SEARCHES: 1, **({EMBEDDING_TOKENS: tokens} if tokens else {})}
    finally:
        with transaction():
            if guard.is_on:
                settle(tenant_id, guard.holder, used)
            else:  # nobody has reserved anything, and nobody waits for the disk: a crash of Postgres may lose a second of counts
                database.execute_later("set local synchronous_commit = off", {})
                usage.record_source(tenant_id, f"work:{guard.holder}", used)
    return found


def _in_ours(store: VectorStore, query: Query) -> tuple[Found, int]:
    if store.dimensions is None:  # nothing was indexed yet
        return Found(query, []), 0
    embedded = embed(
        [query.text],
        model=store.embedding_model,
        dimensions=store.dimensions,
        seconds=min(SECONDS, settings.embedding_timeout_seconds),
    )
    hits = search_ours(
        store,
        vector=embedded.vectors[0],
        text=query.text,
        filters=query.filters,
        limit=query.limit,
        ranking=query.ranking_options,
    )
    return Found(query, [Result(hit.file, hit.score, hit.text, hit.page) for hit in hits]), embedded.tokens


def _at_provider(store: VectorStore, query: Query) -> tuple[Found, int]:
    from workers.gateways import openai  # PERF: an edge without such stores never loads it

    wanted: dict[str, Any] = {"query": query.text, "max_num_results": query.limit, "rewrite_query": False}
    if query.filters:
        wanted["filters"] = query.filters
    if query.ranking_options:
        wanted["ranking_options"] = query.ranking_options
    page = openai.call(
        "vector_stores.search",
        lambda client: client.vector_stores.search(cast(str, store.provider_id), **wanted),
        seconds=SECONDS,
        retries=0,
    )
    hits = page.data[: query.limit]
    files = _files(store, {hit.file_id for hit in hits})
    return Found(query, [_result(files[hit.file_id], hit) for hit in hits if hit.file_id in files]), 0


def _result(file: VectorStoreFile, hit: "VectorStoreSearchResponse") -> Result:
    return Result(file, hit.score, "\n".join(part.text for part in hit.content))


def _files(store: VectorStore, provider_file_ids: set[str]) -> dict[str, VectorStoreFile]:
    """The store's files by the provider's ids of them. What was detached here is not found, also if it is still there."""
    own, copied = VectorStoreFile, ProviderFile
    live = (own.vector_store_id == store.id) & own.deleted_at.is_null()
    named = own.select(own, own.file_id.alias("known_as")).where(live & own.file_id.in_(provider_file_ids))
    is_copy = (copied.object_id == own.object_id) & (copied.tenant_id == own.tenant_id)
    of_objects = own.select(own, copied.provider_file_id.alias("known_as")).join(copied, on=is_copy)
    copies = of_objects.where(live & copied.provider_file_id.in_(provider_file_ids)).objects()
    return {row.known_as: row for row in [*named, *copies]}
