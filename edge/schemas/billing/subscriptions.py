"""Subscriptions, and the operations by which they change."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, EmailStr, Field

MOST_SEATS = 1_000_000


def _storable(seats: int) -> int:
    if seats > MOST_SEATS:
        raise ValueError(f"must be at most {MOST_SEATS}")
    return seats


Seats = Annotated[int, Field(gt=0), AfterValidator(_storable)]
Code = Annotated[str, Field(min_length=1, max_length=64)]
StripeId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{1,255}$")]
PromotionCode = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Proration = Literal["create_prorations", "always_invoice", "none"]
OperationState = Literal["pending", "succeeded", "failed"]
BEYOND = "Beyond the contract."


class StartSubscriptionRequest(BaseModel):
    plan_code: str
    billing_email: EmailStr | None = None
    auto_renew: bool = True
    seat_count: Seats | None = Field(None, description="Default: the seats that the plan includes.")
    payment_method: StripeId | None = Field(
        None, description=f"A payment method that the page has made with Stripe's library (`pm_...`). {BEYOND}"
    )
    promotion_code: PromotionCode | None = Field(None, description=f"As the customer writes it. {BEYOND}")


class UpdateSubscriptionRequest(BaseModel):
    auto_renew: bool | None = Field(None, description="True takes back a cancellation at the end of the period.")
    billing_email: EmailStr | None = None
    seat_count: Seats | None = None
    plan_code: Code | None = Field(None, description=BEYOND)
    proration_behavior: Proration = Field(
        "create_prorations",
        description="What a change of plan or seats does about the time that is paid already: settled with the next "
        f"invoice, invoiced now, or nothing. {BEYOND}",
    )


class CancelSubscriptionRequest(BaseModel):
    cancel_at_period_end: bool = True


class TenantSubscriptionResponse(BaseModel):
    """`metadata` has `pending_change` and `operation_id` while a change has not been confirmed by Stripe."""

    tenant_id: str
    plan_code: str
    status: str
    auto_renew: bool
    billing_email: str | None
    starts_at: datetime
    current_period_start: datetime | None = None
    current_period_end: datetime | None = None
    trial_ends_at: datetime | None = None
    cancel_at: datetime | None = None
    seat_count: int | None = None
    metadata: dict[str, str] = Field(default_factory=dict)
    pending_change: str | None = Field(None, description=f"The kind of change that Stripe has to confirm. {BEYOND}")


class CheckoutRequest(BaseModel):
    plan_code: Code
    billing_email: EmailStr | None = None
    seat_count: Seats | None = None
    promotion_code: PromotionCode | None = None
    success_url: str | None = Field(
        None,
        max_length=2048,
        description="Where the page leads afterwards: on this installation's site or an allowed origin.",
    )
    cancel_url: str | None = Field(
        None, max_length=2048, description="Where it leads if nothing is paid; as `success_url`."
    )


class PortalRequest(BaseModel):
    return_url: str | None = Field(
        None,
        max_length=2048,
        description="Where the page leads back: on this installation's site or an allowed origin.",
    )


class HostedPageResponse(BaseModel):
    """A page of Stripe's. `url` is null while Stripe has not answered: ask for the operation."""

    operation_id: str
    url: str | None = None
    expires_at: datetime | None = None


class PreviewRequest(BaseModel):
    plan_code: Code | None = None
    seat_count: Seats | None = None
    proration_behavior: Proration = "create_prorations"


class PreviewLine(BaseModel):
    description: str | None = None
    amount_cents: int
    quantity: int | None = None
    is_proration: bool = False
    period_start: datetime | None = None
    period_end: datetime | None = None


class PreviewResponse(BaseModel):
    """`amount_due_now_cents`: charged with the change. `next_invoice_cents`: the invoice after that, at `next_invoice_at`."""

    operation_id: str
    currency: str | None = None
    amount_due_now_cents: int | None = None
    next_invoice_cents: int | None = None
    next_invoice_at: datetime | None = None
    lines: list[PreviewLine] = Field(default_factory=list)


class OperationError(BaseModel):
    code: str
    message: str
    details: dict[str, Any] | None = None


class OperationResponse(BaseModel):
    """`url`: of the page that a checkout or portal operation gave; shown to those who manage billing."""

    operation_id: str
    kind: str
    state: OperationState
    created_at: datetime
    finished_at: datetime | None = None
    error: OperationError | None = None
    url: str | None = None


class InvoiceQuery(BaseModel):
    limit: int = Field(25, ge=1, le=100)
    cursor: str | None = None


class InvoiceResponse(BaseModel):
    invoice_id: str
    number: str | None = None
    status: str
    currency: str
    total_cents: int
    amount_due_cents: int
    amount_paid_cents: int
    billing_reason: str | None = None
    period_start: datetime | None = None
    period_end: datetime | None = None
    issued_at: datetime
    hosted_invoice_url: str | None = None
    pdf_url: str | None = None


class InvoiceListResponse(BaseModel):
    items: list[InvoiceResponse]
    next_cursor: str | None = None
