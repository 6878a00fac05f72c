"""A checkout page has been paid: the subscription that it made takes the place of the tenant's others."""

from typing import Any
from uuid import UUID

from models.billing.operations import CHECKOUT, CHECKOUT_PAID, FAILED, SYSTEM, BillingOperation
from models.billing.stripe_order import Order
from models.billing.stripe_tenants import Object, id_of, tenant_of
from models.billing.subscription import ENDED
from models.platform.database import in_transaction
from models.platform.ids import parse_uuid
from workers.billing import customers
from workers.billing.asking import Outcome, change, once, subscription
from workers.gateways.stripe import Answer
from workers.jobs import BILLING_OPERATION, enqueue


@in_transaction
def page_paid(session: Object, order: Order) -> UUID:
    """The handler of Stripe's event about a checkout session. Returns whose page it was; TenantUnknown.

    A job does the rest, once for each subscription.
    """
    tenant_id, keep = tenant_of(session), id_of(session.get("subscription"))
    is_same = (BillingOperation.tenant_id == tenant_id) & (BillingOperation.request["keep"] == str(keep))
    if keep and not BillingOperation.select().where(is_same & (BillingOperation.state != FAILED)).exists():
        operation = BillingOperation.open(tenant_id, CHECKOUT_PAID, {"keep": keep}, SYSTEM)
        enqueue(BILLING_OPERATION, tenant_id=tenant_id, operation_id=str(operation.id))
    return tenant_id


def settle(operation: BillingOperation) -> Outcome:
    """End the tenant's other subscriptions, a trial or a free plan; paid time that is left is credited. The card of the page
    becomes the customer's own, for whatever it starts later."""
    kept = subscription(operation.request["keep"])
    if kept["status"] in ENDED:
        return Outcome(subscriptions=[kept])
    customer_id, card = id_of(kept["customer"]) or "", id_of(kept.get("default_payment_method"))
    if card:
        customers.prefer_card(operation, customer_id, card)
    others = [other["id"] for other in customers.standing(customer_id) if _gives_way(other, kept)]
    return Outcome(subscriptions=[kept, *(_end(operation, other) for other in others)])


def _gives_way(other: Answer, kept: Answer) -> bool:
    """All others do, but one of a page that was opened later: if both pages were paid, each would end the other's."""
    if other["id"] == kept["id"]:
        return False
    earlier, later = (parse_uuid(one["metadata"].get("operation_id")) for one in (kept, other))
    if earlier is None or later is None or later < earlier:
        return True
    found = BillingOperation.reload(later)
    return found is None or found.kind != CHECKOUT


def _end(operation: BillingOperation, subscription_id: str) -> Answer:
    params: Any = {"prorate": True}
    options = once(operation, subscription_id)
    return change(
        "subscriptions.cancel", lambda stripe: stripe.v1.subscriptions.cancel(subscription_id, params, options)
    )
