"""A checkout page has been paid: the subscription that it made takes the place of the tenant's others."""

from uuid import UUID

from models.billing.operations import REPLACE, SYSTEM, BillingOperation
from models.billing.stripe_order import Order
from models.billing.stripe_tenants import Object, id_of, tenant_of
from models.platform.database import database, in_transaction
from workers.jobs import BILLING_OPERATION, enqueue

OTHERS = """
select 1 from stripe_subscription
where tenant_id = %(tenant_id)s and is_live and stripe_subscription_id <> %(keep)s limit 1"""


@in_transaction
def page_paid(session: Object, order: Order) -> UUID:
    """The handler of Stripe's event. Returns whose page it was; TenantUnknown."""
    tenant_id = tenant_of(session)
    replace_others(tenant_id, session)
    return tenant_id


@in_transaction
def replace_others(tenant_id: UUID, session: Object) -> None:
    """End the tenant's other subscriptions, a trial or a free plan, by a job. `session`: Stripe's checkout session."""
    keep = id_of(session.get("subscription"))
    if keep and database.execute_prepared(OTHERS, {"tenant_id": tenant_id, "keep": keep}).fetchone():
        operation = BillingOperation.open(tenant_id, REPLACE, {"keep": keep}, SYSTEM)
        enqueue(BILLING_OPERATION, tenant_id=tenant_id, operation_id=str(operation.id))
