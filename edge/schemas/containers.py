"""Containers, in which agents run code, and which agent has which."""

from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, field_validator

from edge.schemas.common import Offset, Timestamp
from models.platform.json import encode_sorted

LONGEST_METADATA = 16 * 1024  # bytes, as JSON
LONGEST_ID, MOST_FILES, MOST_MINUTES = 255, 100, 60 * 24 * 7
CURSOR = "The `next_cursor` of an answer, for what comes after it. `offset` is not used then. Beyond the contract."


class ExpiresAfter(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    anchor: Literal["last_active_at"]
    minutes: int = Field(ge=1, le=MOST_MINUTES)


class ContainerQuery(BaseModel):
    limit: int = Field(20, ge=1, le=100)
    offset: Offset = 0
    cursor: str | None = Field(None, description=CURSOR)


class ContainerCreateRequest(BaseModel):
    """`memory_limit`: one of the tiers that this installation allows. `expires_after`: `{"anchor": "last_active_at", "minutes":
    5}`; the provider may allow fewer minutes than you ask for. `file_ids`: files that the tenant has at the provider; they are in the container
    from its start. `metadata`: up to 16 KB, for you."""

    name: str = Field(min_length=1, max_length=128)
    memory_limit: str | None = None
    expires_after: dict[str, Any] | None = None
    file_ids: list[str] | None = None
    metadata: dict[str, Any] | None = None

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        if not value.strip() or "\0" in value:
            raise ValueError("must have a visible character, and no null characters")
        return value

    @field_validator("expires_after")
    @classmethod
    def _expires_after(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        return None if value is None else ExpiresAfter.model_validate(value).model_dump()

    @field_validator("file_ids")
    @classmethod
    def _file_ids(cls, value: list[str] | None) -> list[str] | None:
        if value and (len(value) > MOST_FILES or any(len(one) > LONGEST_ID or "\0" in one for one in value)):
            raise ValueError(f"may have {MOST_FILES} ids of {LONGEST_ID} characters at most")
        return value

    @field_validator("metadata")
    @classmethod
    def _metadata(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        encoded = encode_sorted(value)
        if len(encoded) > LONGEST_METADATA or b"\\u0000" in encoded:
            raise ValueError(f"may have {LONGEST_METADATA} bytes as JSON at most, and no null characters")
        return value


class ContainerResponse(BaseModel):
    id: UUID
    openai_id: str = Field(description="Empty until the provider has made it.")
    tenant_id: UUID
    owner_user_id: UUID | None
    name: str
    memory_limit: str
    status: str = Field(description="`creating`, `running`, `expired` or `failed`.")
    expires_after: dict[str, Any] | None
    last_active_at: Timestamp | None
    metadata: dict[str, Any]
    created_at: Timestamp
    updated_at: Timestamp
    error_code: str | None = Field(None, description="Why it has `failed`. Beyond the contract.")


class ContainerListResponse(BaseModel):
    items: list[ContainerResponse]
    total: int
    next_cursor: str | None = Field(None, description="Leads to the containers after these. Beyond the contract.")


class ContainerBindRequest(BaseModel):
    container_id: UUID


class ContainerBindingResponse(BaseModel):
    agent_key: str
    container_id: UUID
    created_at: Timestamp


class ContainerBindingListResponse(BaseModel):
    """Which agents of the tenant have a container. Beyond the contract."""

    items: list[ContainerBindingResponse]
