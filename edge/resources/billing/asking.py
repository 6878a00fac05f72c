"""Asking something of Stripe for a tenant: its operation is sent to a worker, and waited for as long as a request may.

What is not done by then goes on by itself.
"""

from uuid import UUID

import falcon

from edge.request import Request
from edge.resources.billing.tenant import tenant_of
from edge.waiting import wait_until
from models.billing.operations import FAILED, BillingOperation, OperationNotFound
from models.platform import limits
from models.platform.database import in_transaction
from models.platform.errors import DomainError
from models.platform.settings import settings
from workers.jobs import BILLING_OPERATION, enqueue

OPERATION_HEADER = "X-Operation-Id"
# The status of an answer by the error code of its operation.
STATUS = {
    "card_declined": 402,
    "payment_required": 402,
    "payment_method_invalid": 400,
    "promotion_code_unknown": 404,
    "subscription_exists": 409,
    "subscription_ended": 409,
    "provider_unavailable": 503,
    "provider_rejected": 502,
    "provider_authentication": 502,
    "provider_resource_missing": 502,
}


class OperationFailed(DomainError):
    def __init__(self, operation: BillingOperation):
        details = {"operation_id": str(operation.id), **(operation.result or {})}
        super().__init__(operation.error_message, details=details, headers={OPERATION_HEADER: str(operation.id)})
        self.code = operation.error_code or "internal_error"
        self.status = STATUS.get(self.code, 500)
        if self.status == 503:
            self.headers["Retry-After"] = "10"


def asking_tenant(req: Request, tenant_id: str) -> UUID:
    """The tenant of the path, whose calls that need Stripe are limited. TenantMismatch (403), QuotaExceeded (429)."""
    tenant = tenant_of(req, tenant_id)
    limits.hit("billing_calls_per_minute", settings.billing_calls_per_minute, 60, tenant)
    return tenant


@in_transaction
def send(operation: BillingOperation) -> None:
    """Send the operation to a worker after the commit."""
    enqueue(BILLING_OPERATION, tenant_id=operation.tenant_id, operation_id=str(operation.id))


def outcome(resp: falcon.Response, operation: BillingOperation) -> BillingOperation:
    """The operation as it is after BILLING_WAIT_SECONDS at most. Raises OperationFailed."""
    resp.set_header(OPERATION_HEADER, str(operation.id))
    operation = wait_until(lambda: _reloaded(operation.id), lambda row: row.is_finished, settings.billing_wait_seconds)
    if operation.state == FAILED:
        raise OperationFailed(operation)
    return operation


def _reloaded(operation_id: UUID) -> BillingOperation:
    operation = BillingOperation.reload(operation_id)
    if operation is None:  # its tenant is gone
        raise OperationNotFound()
    return operation
