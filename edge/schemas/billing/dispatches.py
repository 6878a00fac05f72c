"""The inbox of Stripe's events, as operators see it."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

DispatchState = StrEnum(
    "DispatchState", {"received": "received", "processed": "processed", "failed": "failed", "parked": "parked"}
)


class DispatchQuery(BaseModel):
    state: DispatchState | None = Field(
        None, description="`parked`: failed, and not tried again. `failed`: with those."
    )
    event_type: str | None = Field(None, max_length=128)
    tenant_id: UUID | None = None
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = None


class DispatchResponse(BaseModel):
    """`error`: of the last attempt. `due_at`: of the next one; null: none is due."""

    id: str
    stripe_event_id: str
    event_type: str
    object_id: str | None
    tenant_id: str | None
    state: DispatchState
    attempts: int
    error: str | None
    occurred_at: datetime
    received_at: datetime
    due_at: datetime | None
    processed_at: datetime | None
    position: int | None = Field(description="The event's number among its tenant's events.")


class DispatchDetailResponse(DispatchResponse):
    """`payload`: the event as Stripe sent it. `event`: as the tenant's clients get it, once it is processed."""

    payload: dict[str, Any] | None
    event: dict[str, Any] | None


class DispatchListResponse(BaseModel):
    items: list[DispatchResponse]
    next_cursor: str | None = None


class ReplayRequest(BaseModel):
    state: DispatchState = Field(DispatchState.parked, description="Only events of this state.")
    event_type: str | None = Field(None, max_length=128)
    tenant_id: UUID | None = None
    limit: int = Field(100, ge=1, le=10_000, description="The events received first are replayed.")


class ReplayResponse(BaseModel):
    replayed: int
