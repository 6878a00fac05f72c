"""Vector stores, the files in them, and searches."""

from typing import Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from edge.schemas.common import Offset, Timestamp

MOST_PAIRS, LONGEST_KEY, LONGEST_VALUE = 16, 64, 512  # of metadata and attributes, as at the provider
LONGEST_NAME, LONGEST_DESCRIPTION, LONGEST_QUERY, LONGEST_ID = 128, 1000, 4096, 255
MOST_DAYS = 365
LEAST_CHUNK, LARGEST_CHUNK = 100, 4096  # tokens
CURSOR = "The `next_cursor` of an answer, for what comes after it. `offset` is not used then. Beyond the contract."


class ListQuery(BaseModel):
    limit: int = Field(20, ge=1, le=100)
    offset: Offset = 0
    cursor: str | None = Field(None, description=CURSOR)


class FileQuery(ListQuery):
    status: str | None = None


class ExpiresAfter(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    anchor: Literal["last_active_at"]
    days: int = Field(ge=1, le=MOST_DAYS)


class StaticChunks(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    max_chunk_size_tokens: int = Field(ge=LEAST_CHUNK, le=LARGEST_CHUNK)
    chunk_overlap_tokens: int = Field(ge=0)

    @model_validator(mode="after")
    def _overlap(self) -> Self:
        if self.chunk_overlap_tokens * 2 > self.max_chunk_size_tokens:
            raise ValueError("chunk_overlap_tokens may be half of max_chunk_size_tokens at most")
        return self


class ChunkingStrategy(BaseModel):
    model_config = ConfigDict(extra="forbid")
    type: Literal["auto", "static"]
    static: StaticChunks | None = None

    @model_validator(mode="after")
    def _sizes(self) -> Self:
        if (self.type == "static") != (self.static is not None):
            raise ValueError("`static` is needed with the type `static`, and only with it")
        return self


class VectorStoreCreateRequest(BaseModel):
    """`expires_after`: `{"anchor": "last_active_at", "days": 1 to 365}`. `metadata`: up to 16 pairs of texts, the keys of 64
    characters at most and the values of 512."""

    name: str = Field(min_length=1, max_length=LONGEST_NAME)
    description: str | None = None
    expires_after: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None

    @field_validator("description")
    @classmethod
    def _description(cls, value: str | None) -> str | None:
        if value is not None and len(value) > LONGEST_DESCRIPTION:
            raise ValueError(f"may have {LONGEST_DESCRIPTION} characters at most")
        return value

    @field_validator("expires_after")
    @classmethod
    def _expires_after(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        return None if value is None else ExpiresAfter.model_validate(value).model_dump()

    @field_validator("metadata")
    @classmethod
    def _metadata(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        return None if value is None else _pairs(value, str)


class VectorStoreFileCreateRequest(BaseModel):
    """`file_id`: the id of a stored object, alone or in hexadecimal after `file-`; or, in a store of the engine `openai`, the id
    of a file at the provider that is the tenant's. `attributes`: up to 16 texts, numbers and booleans, for filters of searches.
    `chunking_strategy`: `{"type": "auto"}`, or `{"type": "static", "static": {"max_chunk_size_tokens": 100 to 4096,
    "chunk_overlap_tokens": half of that at most}}`. `poll`: wait for the file to be indexed, for as long as a request may."""

    file_id: str = Field(min_length=1)
    attributes: dict[str, Any] | None = None
    chunking_strategy: dict[str, Any] | None = None
    poll: bool = True

    @field_validator("file_id")
    @classmethod
    def _file_id(cls, value: str) -> str:
        if len(value) > LONGEST_ID:
            raise ValueError(f"may have {LONGEST_ID} characters at most")
        return value

    @field_validator("attributes")
    @classmethod
    def _attributes(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        return None if value is None else _pairs(value, str, int, float, bool)

    @field_validator("chunking_strategy")
    @classmethod
    def _chunking_strategy(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        return None if value is None else ChunkingStrategy.model_validate(value).model_dump(exclude_none=True)


class VectorStoreSearchRequest(BaseModel):
    """`query`: up to 4096 characters. `filters`: `{"type": "eq", "key": ..., "value": ...}`, also ne, gt, gte, lt, lte, in and nin,
    or `{"type": "and", "filters": [...]}`, also or. `max_num_results`: 1 to 50, by default 10."""

    query: str = Field(min_length=1)
    filters: dict[str, Any] | None = None
    max_num_results: int | None = Field(None, ge=1, le=50)
    ranking_options: dict[str, Any] | None = None

    @field_validator("query")
    @classmethod
    def _query(cls, value: str) -> str:
        if len(value) > LONGEST_QUERY:
            raise ValueError(f"may have {LONGEST_QUERY} characters at most")
        if not value.strip():
            raise ValueError("must have a character that is no white space")
        return value


class VectorStoreResponse(BaseModel):
    """`status`: `creating`, `in_progress`, `completed`, `expired` or `failed`."""

    id: UUID
    openai_id: str
    tenant_id: UUID
    owner_user_id: UUID | None
    name: str
    description: str | None
    status: str
    usage_bytes: int
    expires_after: dict[str, Any] | None = None
    expires_at: Timestamp | None = None
    last_active_at: Timestamp | None = None
    metadata: dict[str, Any]
    created_at: Timestamp
    updated_at: Timestamp
    engine: str = Field("pgvector", description="`pgvector` or `openai`. Beyond the contract.")


class VectorStoreListResponse(BaseModel):
    items: list[VectorStoreResponse]
    total: int
    next_cursor: str | None = Field(None, description="Beyond the contract.")


class VectorStoreFileResponse(BaseModel):
    """`status`: `in_progress`, `completed`, `failed` or `cancelled`. `last_error`: why it failed."""

    id: UUID
    openai_file_id: str
    vector_store_id: UUID
    filename: str
    mime_type: str | None
    size_bytes: int | None
    usage_bytes: int
    status: str
    attributes: dict[str, Any]
    chunking_strategy: dict[str, Any] | None
    last_error: str | None
    created_at: Timestamp
    updated_at: Timestamp
    error_code: str | None = Field(None, description="What `last_error` is about, for programs. Beyond the contract.")
    object_id: UUID | None = Field(None, description="The stored object. Beyond the contract.")
    run_id: UUID | None = Field(None, description="The run that indexes it, or did so last. Beyond the contract.")


class VectorStoreFileListResponse(BaseModel):
    items: list[VectorStoreFileResponse]
    total: int
    next_cursor: str | None = Field(None, description="Beyond the contract.")


class VectorStoreSearchResponse(BaseModel):
    """`data`: a page as the provider's API has it: `{"object": "vector_store.search_results.page", "search_query": [...],
    "data": [{"file_id", "filename", "score", "attributes", "content": [{"type": "text", "text"}]}], "has_more", "next_page"}`."""

    data: Any


def _pairs(value: dict[str, Any], *kinds: type) -> dict[str, Any]:
    if len(value) > MOST_PAIRS:
        raise ValueError(f"may have {MOST_PAIRS} keys at most")
    for key, each in value.items():
        if not 1 <= len(key) <= LONGEST_KEY:
            raise ValueError(f"keys must have 1 to {LONGEST_KEY} characters")
        if not isinstance(each, kinds):
            raise ValueError(f"values must be {', '.join(NAMES[kind] for kind in kinds)}")
        if isinstance(each, str) and len(each) > LONGEST_VALUE:
            raise ValueError(f"values may have {LONGEST_VALUE} characters at most")
    return value


NAMES = {str: "texts", int: "integers", float: "numbers", bool: "booleans"}
