"""Stored objects: uploads, downloads and lists."""

import json
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, Field, WithJsonSchema, field_validator, model_validator

from edge.schemas.common import Offset, Timestamp

LARGEST_METADATA = 16_384  # bytes, as JSON
DEEPEST_METADATA = 5
LARGEST_SIZE = 2**63 - 1
PARTS = "Upload in parts of 16 MiB, each with a URL of its own: for large files, which can so be resumed. Beyond the contract."
# A client may have named its conversation itself, with something that is no UUID.
ConversationKey = Annotated[str, WithJsonSchema({"type": "string", "format": "uuid"})]


class ObjectQuery(BaseModel):
    limit: int = Field(20, ge=1, le=100)
    offset: Offset = 0
    conversation_id: UUID | None = None
    cursor: str | None = Field(
        None, description="The `next_cursor` of an answer, instead of an offset. Beyond the contract."
    )


class StoragePresignUploadRequest(BaseModel):
    """`metadata`: at most 16 KiB of JSON, and 5 levels of it."""

    filename: str = Field(max_length=256)
    mime_type: str = Field(max_length=128)
    size_bytes: int = Field(ge=0)
    agent_key: str | None = Field(None, max_length=64)
    conversation_id: UUID | None = None
    metadata: dict[str, Any] | None = None
    parts: bool = Field(False, description=PARTS)

    @field_validator("size_bytes")
    @classmethod
    def _size(cls, value: int) -> int:
        return min(value, LARGEST_SIZE)  # which is too large for any installation

    @field_validator("metadata")
    @classmethod
    def _metadata(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if value is not None and _depth(value) > DEEPEST_METADATA:
            raise ValueError(f"may have {DEEPEST_METADATA} levels at most")
        if value is not None and len(json.dumps(value, ensure_ascii=False).encode()) > LARGEST_METADATA:
            raise ValueError(f"may have {LARGEST_METADATA} bytes at most, as JSON")
        return value

    @model_validator(mode="after")
    def _parts(self) -> Self:
        if self.parts and not self.size_bytes:
            raise ValueError("an empty file has no parts")
        return self


def _depth(value: object) -> int:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inside is None else 1 + max(map(_depth, inside), default=0)


class UploadPart(BaseModel):
    part_number: int
    upload_url: str
    size_bytes: int


class StoragePresignUploadResponse(BaseModel):
    """Send the bytes to `upload_url` with exactly these headers, then call `/complete`. With `parts`, send each to its own."""

    object_id: UUID
    upload_url: str
    method: str
    headers: dict[str, str]
    bucket: str
    object_key: str
    expires_in_seconds: int
    parts: list[UploadPart] | None = Field(None, description="Beyond the contract.")


class StoragePresignDownloadResponse(BaseModel):
    object_id: UUID
    download_url: str
    method: str
    headers: dict[str, str]
    bucket: str
    object_key: str
    expires_in_seconds: int


class StorageObjectResponse(BaseModel):
    id: UUID
    bucket: str
    object_key: str
    filename: str | None
    mime_type: str | None
    size_bytes: int | None
    status: str | None
    created_at: Timestamp | None
    conversation_id: ConversationKey | None
    agent_key: str | None
    sha256: str | None = Field(None, description="In hexadecimal, of an object that is ready. Beyond the contract.")
    rejection: Literal["size_mismatch", "type_mismatch"] | None = Field(
        None, description="Why an upload was rejected. Beyond the contract."
    )


class StorageObjectListResponse(BaseModel):
    items: list[StorageObjectResponse]
    next_offset: int | None = None
    next_cursor: str | None = Field(None, description="Beyond the contract.")
