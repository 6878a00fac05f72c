"""Fan-outs of status alerts, and their deliveries."""

from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field

from edge.schemas.common import Timestamp
from edge.schemas.status.subscriptions import Limit, Severity


class StatusIncidentResendRequest(BaseModel):
    severity: Severity = Field("major", description="Whose filters it passes. Slack channels have none.")
    tenant_id: UUID | None = Field(
        None, description="The tenant whose subscriptions are told. Others than their own: for operators only."
    )


class StatusIncidentResendResponse(BaseModel):
    """`dispatched`: the deliveries that were made."""

    dispatched: int


class StatusFanOutsQuery(BaseModel):
    incident_id: str | None = None
    limit: Limit = 20
    cursor: str | None = None


class StatusFanOutResponse(BaseModel):
    """`kind`: `update`, or `resend`. `handed_out_at`: when all deliveries had been made. `finished_at`: when none waited any more."""

    id: UUID
    created_at: Timestamp
    incident_id: str
    update_id: UUID
    kind: str
    severity: str
    scope: str
    tenant_id: UUID | None
    creator: str
    total: int
    handed_out_at: Timestamp | None
    finished_at: Timestamp | None
    deliveries: dict[str, int] = Field(description="How many are `pending`, `delivered`, `given_up` and `skipped`.")


class StatusFanOutListResponse(BaseModel):
    items: list[StatusFanOutResponse]
    next_cursor: str | None = None


class StatusAllDeliveriesQuery(BaseModel):
    incident_id: str | None = None
    fanout_id: UUID | None = None
    subscription_id: UUID | None = None
    state: Literal["pending", "delivered", "given_up", "skipped"] | None = None
    channel: Literal["email", "webhook", "slack"] | None = None
    limit: Limit = 20
    cursor: str | None = None


class StatusAlertResponse(BaseModel):
    """`host`: what is sent there is slow together. `due_at`: of the next attempt, if it is `pending`."""

    id: UUID
    created_at: Timestamp
    fanout_id: UUID
    incident_id: str
    update_id: UUID
    subscription_id: UUID | None
    tenant_id: UUID | None
    channel: str
    host: str
    target: str
    state: str
    attempts: int
    due_at: Timestamp
    status_code: int | None
    error: str | None
    finished_at: Timestamp | None


class StatusAlertListResponse(BaseModel):
    items: list[StatusAlertResponse]
    next_cursor: str | None = None


class StatusRedeliveryResponse(BaseModel):
    id: UUID
    state: str
    attempts: int
