"""How an operation towards Stripe is."""

from typing import cast

import falcon

from edge.endpoint import endpoint
from edge.request import Request
from edge.resources.billing.tenant import tenant_of
from edge.schemas.billing.subscriptions import OperationError, OperationResponse, OperationState
from models.billing.operations import FAILED, BillingOperation
from models.platform.authorization import BILLING_MANAGE, BILLING_READ, may
from models.platform.principal import Principal


class Operations:
    @endpoint("Get Billing Operation", "billing", action=BILLING_READ, tenant=True)
    def on_get(self, req: Request, resp: falcon.Response, tenant_id: str, operation_id: str) -> OperationResponse:
        """What came of a change or a page that was asked for: its id is the header `X-Operation-Id`. Beyond the contract."""
        tenant_of(req, tenant_id)
        return show(req.context.principal, BillingOperation.find(req.context.principal, operation_id))


def show(principal: Principal, operation: BillingOperation) -> OperationResponse:
    error, result = None, operation.result or {}
    if operation.state == FAILED:
        code, message = operation.error_code or "internal_error", operation.error_message or ""
        error = OperationError(code=code, message=message, details=result or None)
    return OperationResponse(
        operation_id=str(operation.id),
        kind=operation.kind,
        state=cast(OperationState, operation.state),
        created_at=operation.created_at,
        finished_at=operation.finished_at,
        error=error,
        url=result.get("url") if may(principal, BILLING_MANAGE) else None,
    )
