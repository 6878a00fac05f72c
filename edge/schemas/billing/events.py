"""The events of billing, in the history and in the stream."""

from enum import StrEnum

from pydantic import BaseModel, Field

from edge.schemas.runs import RunStreamQuery

StripeEventStatus = StrEnum("StripeEventStatus", {"received": "received", "processed": "processed", "failed": "failed"})


class BillingEventsQuery(BaseModel):
    limit: int = Field(25, ge=1, le=100)
    cursor: str | None = None
    event_type: str | None = Field(None, description="Only events of exactly this type.")
    processing_status: StripeEventStatus | None = Field(None, description="Only events that are this far.")


class BillingStreamQuery(RunStreamQuery):
    after: int | None = Field(
        None,
        ge=0,
        le=2**53 - 1,
        description="The `position` of the last event that the client has. Default: before the newest 20 of the last day. Beyond the contract.",
    )


class BillingEventSubscriptionResponse(BaseModel):
    plan_code: str
    status: str
    seat_count: int | None = None
    auto_renew: bool
    current_period_start: str | None = None
    current_period_end: str | None = None
    trial_ends_at: str | None = None
    cancel_at: str | None = None


class BillingEventInvoiceResponse(BaseModel):
    """`amount_due_cents` is in the currency's smallest unit."""

    invoice_id: str
    status: str
    amount_due_cents: int
    currency: str
    billing_reason: str | None = None
    hosted_invoice_url: str | None = None
    collection_method: str | None = None
    period_start: str | None = None
    period_end: str | None = None


class BillingEventUsageResponse(BaseModel):
    feature_key: str
    quantity: int
    period_start: str | None = None
    period_end: str | None = None
    amount_cents: int | None = None


class BillingEventResponse(BaseModel):
    """`occurred_at`: when it happened, by Stripe's clock if it was there. `stripe_event_id` begins with `lsh_` for acts of ours."""

    tenant_id: str
    event_type: str
    stripe_event_id: str
    occurred_at: str
    summary: str | None = None
    status: str
    subscription: BillingEventSubscriptionResponse | None = None
    invoice: BillingEventInvoiceResponse | None = None
    usage: list[BillingEventUsageResponse] = Field(default_factory=list)
    processing_status: StripeEventStatus = Field(
        StripeEventStatus("processed"), description="How far we are with it. Beyond the contract."
    )
    position: int | None = Field(
        None, description="Its number in the tenant's stream, once it is processed. Beyond the contract."
    )


class BillingEventHistoryResponse(BaseModel):
    items: list[BillingEventResponse] = Field(default_factory=list)
    next_cursor: str | None = None
