"""The settings of a tenant."""

from typing import Annotated

from pydantic import AfterValidator, AnyUrl, BaseModel, ConfigDict, EmailStr, Field, StrictBool

from edge.schemas.common import Timestamp

MOST_ENTRIES, LONGEST_KEY, LONGEST_VALUE = 100, 128, 1024


def _bounded(values: dict[str, str] | dict[str, bool]) -> dict[str, str] | dict[str, bool]:
    if len(values) > MOST_ENTRIES:
        raise ValueError(f"may have {MOST_ENTRIES} entries at most")
    if any(len(key) > LONGEST_KEY or len(str(value)) > LONGEST_VALUE for key, value in values.items()):
        raise ValueError(f"keys may have {LONGEST_KEY} characters, values {LONGEST_VALUE}")
    return values


Metadata = Annotated[dict[str, str], AfterValidator(_bounded)]
Flags = Annotated[dict[str, StrictBool], AfterValidator(_bounded)]


class BillingContactModel(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=128)
    email: EmailStr
    role: str | None = Field(None, max_length=64)
    phone: str | None = Field(None, max_length=64)
    notify_billing: bool = True


class TenantSettingsUpdateRequest(BaseModel):
    """All of the settings: what is left out or null is cleared."""

    model_config = ConfigDict(extra="forbid")

    billing_contacts: list[BillingContactModel]
    billing_webhook_url: AnyUrl | None = None
    plan_metadata: Metadata
    flags: Flags


class TenantSettingsResponse(BaseModel):
    model_config = ConfigDict(extra="forbid")

    tenant_id: str
    billing_contacts: list[BillingContactModel]
    billing_webhook_url: AnyUrl | None = None
    plan_metadata: dict[str, str]
    flags: dict[str, bool]
    updated_at: Timestamp | None = None


class TenantFlagResponse(BaseModel):
    """`value`: what holds for this tenant. `is_default`: nobody has set it."""

    name: str
    description: str
    default: bool
    value: bool
    is_default: bool


class TenantFlagsResponse(BaseModel):
    items: list[TenantFlagResponse]


class ContactsTestResponse(BaseModel):
    """`recipients`: how many addresses get the mail."""

    recipients: int


class WebhookSecretResponse(BaseModel):
    """`secret`: in the form of Standard Webhooks. It is shown this once.

    `former_signs_until`: until then what is sent is signed with the former secret too; null if there was none.
    """

    secret: str
    former_signs_until: Timestamp | None = None


class WebhookDeliveryResponse(BaseModel):
    """`kind`: of the notice; `test` for a test. `status_code` and `error`: of the last attempt."""

    id: str
    kind: str
    state: str
    attempts: int
    status_code: int | None = None
    error: str | None = None
    created_at: Timestamp
    finished_at: Timestamp | None = None


class WebhookDeliveriesQuery(BaseModel):
    limit: int = Field(25, ge=1, le=100)
    cursor: str | None = None


class WebhookDeliveriesResponse(BaseModel):
    items: list[WebhookDeliveryResponse]
    next_cursor: str | None = None
