"""Subscriptions to the status."""

import json
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field

from edge.schemas.common import Timestamp

LARGEST_METADATA, MOST_COMPONENTS = 4096, 100
Severity = Literal["all", "major", "maintenance"]


def _small(metadata: dict[str, Any] | None) -> dict[str, Any] | None:
    if metadata is not None and len(json.dumps(metadata, ensure_ascii=False).encode()) > LARGEST_METADATA:
        raise ValueError(f"may have {LARGEST_METADATA} bytes as JSON at most")
    return metadata


def _each_once(keys: list[str]) -> list[str]:
    return list(dict.fromkeys(keys))


Metadata = Annotated[dict[str, Any] | None, AfterValidator(_small)]
Component = Annotated[str, Field(min_length=1, max_length=64, pattern="^[a-z0-9_-]+$")]
Components = Annotated[list[Component], Field(max_length=MOST_COMPONENTS), AfterValidator(_each_once)]
Limit = Annotated[int, AfterValidator(lambda value: min(100, max(1, value)))]


class StatusSubscriptionCreateRequest(BaseModel):
    channel: Literal["email", "webhook"]
    target: str = Field(description="An e-mail address, or the HTTPS URL of a webhook.")
    severity_filter: Severity | None = "major"
    metadata: Metadata = None
    components: Components | None = Field(
        None,
        description="Keys of services, of which at least one must be affected; none means all. Beyond the contract.",
    )


class StatusSubscriptionChangeRequest(BaseModel):
    """What is left out stays as it is."""

    severity_filter: Severity | None = None
    components: Components | None = None
    metadata: Metadata = None


class StatusSubscriptionVerifyRequest(BaseModel):
    token: str


class StatusSubscriptionChallengeRequest(BaseModel):
    token: str


class StatusSubscriptionResponse(BaseModel):
    """`webhook_secret` is shown once: by the answer that has made it."""

    id: UUID
    channel: str
    severity_filter: str
    status: str = Field(
        description="`pending_verification`, `active`, `revoked`, or `disabled` after too many failures."
    )
    target_masked: str
    tenant_id: UUID | None = None
    created_by: str
    created_at: Timestamp
    updated_at: Timestamp
    webhook_secret: str | None = None
    components: list[str] = Field(default_factory=list, description="Beyond the contract.")
    metadata: dict[str, Any] = Field(default_factory=dict, description="Beyond the contract.")
    verified_at: Timestamp | None = Field(None, description="Beyond the contract.")
    failing_since: Timestamp | None = Field(
        None, description="Since when each delivery has failed for good. Beyond the contract."
    )
    checked_at: Timestamp | None = Field(
        None, description="When a challenge, test or delivery was answered last, or failed. Beyond the contract."
    )
    last_error: str | None = Field(None, description="Why that has failed; null if it has not. Beyond the contract.")


class StatusSubscriptionListResponse(BaseModel):
    items: list[StatusSubscriptionResponse]
    next_cursor: str | None = None


class ListedStatus(StrEnum):
    PENDING = "pending_verification"
    ACTIVE = "active"
    REVOKED = "revoked"
    DISABLED = "disabled"


class StatusSubscriptionsQuery(BaseModel):
    limit: Limit = 20
    cursor: str | None = None
    tenant_id: UUID | None = None
    all: bool = Field(False, description="Those of every tenant and of the public. For operators.")
    channel: Literal["email", "webhook"] | None = Field(None, description="Beyond the contract.")
    status: ListedStatus | None = Field(None, description="Beyond the contract.")
    public: bool = Field(False, description="Only those of the public, with `all=true`. Beyond the contract.")


class StatusSubscriptionQuery(BaseModel):
    all: bool = Field(
        False, description="Also one of another tenant or of the public. For operators. Beyond the contract."
    )


class StatusUnsubscribeQuery(StatusSubscriptionQuery):
    token: str | None = Field(None, description="From the link of a mail.")


class StatusSecretResponse(BaseModel):
    """`webhook_secret`: shown this once. `former_signs_until`: until then the former secret signs too; null if there was none."""

    webhook_secret: str
    former_signs_until: Timestamp | None = None


class StatusDeliveriesQuery(StatusSubscriptionQuery):
    limit: Limit = 20
    cursor: str | None = None


class StatusDeliveryResponse(BaseModel):
    """`state`: `pending`, `delivered`, `given_up` after a day, or `skipped`. `status_code`, `error`: of the last attempt."""

    id: UUID
    incident_id: str
    update_id: UUID
    state: str
    attempts: int
    status_code: int | None = None
    error: str | None = None
    created_at: Timestamp
    finished_at: Timestamp | None = None


class StatusDeliveriesResponse(BaseModel):
    items: list[StatusDeliveryResponse]
    next_cursor: str | None = None
