"""A tenant's subscription: reading, starting, changing and cancelling it."""

from uuid import UUID

import falcon

from edge.endpoint import endpoint
from edge.request import Request
from edge.resources.billing.asking import OPERATION_HEADER, asking_tenant, outcome, send
from edge.resources.billing.tenant import tenant_of
from edge.schemas.billing.subscriptions import (
    CancelSubscriptionRequest,
    StartSubscriptionRequest,
    TenantSubscriptionResponse,
    UpdateSubscriptionRequest,
)
from models.billing import changes
from models.billing.operations import CANCEL, BillingOperation
from models.billing.subscription import Subscription, SubscriptionNotFound
from models.platform.authorization import BILLING_MANAGE, BILLING_READ
from models.platform.database import transaction


class Subscriptions:
    @endpoint("Get Tenant Subscription", "billing", action=BILLING_READ, tenant=True)
    def on_get(self, req: Request, resp: falcon.Response, tenant_id: str) -> TenantSubscriptionResponse:
        """The subscription as Stripe has last confirmed it, in any state."""
        return show(req, tenant_of(req, tenant_id))

    @endpoint(
        "Start Subscription",
        "billing",
        action=BILLING_MANAGE,
        status=201,
        tenant=True,
        answer_headers=(OPERATION_HEADER,),
    )
    def on_post(
        self, req: Request, resp: falcon.Response, tenant_id: str, body: StartSubscriptionRequest
    ) -> TenantSubscriptionResponse:
        """Start a subscription. A tenant has one: 409 `subscription_exists` if there is one that has not ended.

        A trial needs no payment method. Otherwise a plan that costs something takes `payment_method`, or the card that
        Stripe knows; without either it is 402 `payment_required`, and a declined card is 402 `card_declined`. Both leave
        everything as it was.
        """
        tenant, principal = asking_tenant(req, tenant_id), req.context.principal
        wish = changes.Start(**body.model_dump())
        with transaction():
            operation = changes.start(tenant, wish, principal, req.context.client)
            send(operation)
        outcome(resp, operation)
        return show(req, tenant)

    @endpoint("Update Subscription", "billing", action=BILLING_MANAGE, tenant=True, answer_headers=(OPERATION_HEADER,))
    def on_patch(
        self, req: Request, resp: falcon.Response, tenant_id: str, body: UpdateSubscriptionRequest
    ) -> TenantSubscriptionResponse:
        """Change the plan, the seats, the address for bills, or whether it renews. 409 `change_pending` while another
        change has not been confirmed; what is so already is answered at once."""
        tenant, principal = asking_tenant(req, tenant_id), req.context.principal
        with transaction():
            operation = changes.update(tenant, changes.Update(**body.model_dump()), principal, req.context.client)
            if operation:
                send(operation)
        if operation:
            outcome(resp, operation)
        return show(req, tenant)

    @endpoint("Cancel Subscription", "billing", action=BILLING_MANAGE, tenant=True, answer_headers=(OPERATION_HEADER,))
    def on_post_cancel(
        self, req: Request, resp: falcon.Response, tenant_id: str, body: CancelSubscriptionRequest
    ) -> TenantSubscriptionResponse:
        """Cancel at the end of the period, or at once. Repeatable. Until its end, `auto_renew` takes a cancellation back."""
        tenant, principal = asking_tenant(req, tenant_id), req.context.principal
        with transaction():
            operation, is_new = changes.cancel(
                tenant, at_period_end=body.cancel_at_period_end, by=principal, client=req.context.client
            )
            if operation and is_new:
                send(operation)
        if operation:
            outcome(resp, operation)
        return show(req, tenant)


def show(req: Request, tenant_id: UUID) -> TenantSubscriptionResponse:
    """The tenant's subscription with the change that is not confirmed yet. SubscriptionNotFound (404)."""
    row = Subscription.visible_to(req.context.principal).where(Subscription.tenant_id == tenant_id).get_or_none()
    if row is None:
        raise SubscriptionNotFound()
    pending = BillingOperation.open_change(tenant_id)
    metadata = {name: str(value) for name, value in row.metadata.items()}
    auto_renew, cancel_at = row.auto_renew, row.cancel_at
    if pending:
        metadata |= {"pending_change": pending.kind, "operation_id": str(pending.id)}
    if pending and pending.kind == CANCEL:
        auto_renew, cancel_at = False, cancel_at or row.current_period_end
    return TenantSubscriptionResponse(
        tenant_id=str(tenant_id),
        plan_code=row.plan_code,
        status=row.status,
        auto_renew=auto_renew,
        billing_email=row.billing_email,
        starts_at=row.starts_at,
        current_period_start=row.current_period_start,
        current_period_end=row.current_period_end,
        trial_ends_at=row.trial_ends_at,
        cancel_at=cancel_at,
        seat_count=row.seat_count,
        metadata=metadata,
        pending_change=pending.kind if pending else None,
    )
