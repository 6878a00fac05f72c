"""Addresses that get no mail."""

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, Field

SuppressionReason = StrEnum("SuppressionReason", {"bounce": "bounce", "complaint": "complaint", "operator": "operator"})


class SuppressionQuery(BaseModel):
    reason: SuppressionReason | None = None
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = None


class SuppressionRequest(BaseModel):
    address: str = Field(min_length=3, max_length=320, description="A mail address. Its case does not matter.")


class SuppressionResponse(BaseModel):
    """The address is kept as a keyed hash only; `address_masked` shows its first letter and its domain."""

    id: str
    address_masked: str
    reason: SuppressionReason
    created_at: datetime


class SuppressionListResponse(BaseModel):
    items: list[SuppressionResponse]
    next_cursor: str | None = None
