"""Schemas that several tags share."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, PlainSerializer

from models.platform.clock import iso

# Capped at more rows than any table has; much larger numbers overflow in Postgres.
Offset = Annotated[int, Field(ge=0), AfterValidator(lambda value: min(value, 10**15))]
# Written as UTC with microseconds and Z; the document calls it a plain string.
Timestamp = Annotated[datetime, PlainSerializer(iso, return_type=str, when_used="json")]


class ValidationError(BaseModel):
    loc: list[str | int]
    msg: str
    type: str


class HTTPValidationError(BaseModel):
    detail: list[ValidationError] = Field(default_factory=list)


class ErrorEnvelope(BaseModel):
    """Every error, of every status."""

    success: bool = False
    error: str
    message: str
    detail: Any
    details: Any | None = None
    correlation_id: str


class SuccessResponse(BaseModel):
    success: bool = True
    message: str
    data: Any | None = None


class HealthResponse(BaseModel):
    status: str
    timestamp: str
    version: str
    uptime: float | None = None


class MessageAttachment(BaseModel):
    object_id: str
    filename: str
    mime_type: str | None = None
    size_bytes: int | None = None
    url: str | None = Field(None, description="Downloads it for a while; made anew whenever messages are read.")
    tool_call_id: str | None = None
    url_missing: str | None = Field(
        None, description="Why there is no `url`: deleted, not_ready or storage_unavailable. Beyond the contract."
    )
