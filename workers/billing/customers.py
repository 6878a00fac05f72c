"""The tenant as Stripe's customer: made when it is first needed, and from then on always the same."""

from typing import Any, NamedTuple
from uuid import UUID

from models.auth.tenants import Tenant
from models.billing.changes import PaymentRequired
from models.billing.customers import BillingCustomer
from models.billing.operations import BillingOperation
from models.billing.subscription import ENDED, INCOMPLETE
from models.platform.database import transaction
from workers.billing.asking import Refused, ask, once
from workers.gateways.stripe import Answer, ProviderRejected

PAGE = 100  # more subscriptions than a customer ever has


class Customer(NamedTuple):
    id: str
    is_new: bool


def ensure(operation: BillingOperation) -> Customer:
    """The tenant's customer. Everybody who makes it uses the same key, so that there is one."""
    tenant_id = operation.tenant_id
    known = BillingCustomer.stripe_id(tenant_id)
    if known:
        return Customer(known, is_new=False)
    params: Any = {"metadata": {"tenant_id": str(tenant_id)}}  # nothing that may change: the key goes with it
    options: Any = {"idempotency_key": f"customer:{tenant_id}"}
    made = ask("customers.create", lambda stripe: stripe.v1.customers.create(params, options))
    with transaction():
        BillingCustomer.keep_stripe_id(tenant_id, made["id"])
    _describe(operation, made["id"])
    return Customer(BillingCustomer.stripe_id(tenant_id) or made["id"], is_new=not made.replayed)


def _describe(operation: BillingOperation, customer_id: str) -> None:
    tenant = Tenant.get_by_id(operation.tenant_id)
    params: Any = {"name": tenant.name}
    if email := operation.request.get("billing_email"):
        params["email"] = email
    ask("customers.update", lambda stripe: stripe.v1.customers.update(customer_id, params, once(operation, "describe")))


def set_email(operation: BillingOperation, customer_id: str, email: str) -> None:
    params: Any = {"email": email}
    ask("customers.update", lambda stripe: stripe.v1.customers.update(customer_id, params, once(operation, "email")))


def require_card(tenant_id: UUID, customer_id: str) -> None:
    """Refused with `payment_required` if Stripe has nothing that this customer could pay with."""
    customer = ask("customers.retrieve", lambda stripe: stripe.v1.customers.retrieve(customer_id))
    chosen = (customer.get("invoice_settings") or {}).get("default_payment_method") or customer.get("default_source")
    if not chosen:
        error = PaymentRequired.of_tenant(tenant_id)
        raise Refused(error.code, error.message, error.details)


def attach_card(operation: BillingOperation, customer_id: str, payment_method: str) -> str:
    """Stripe's id of the payment method as the customer's own. Refused if it is none, or somebody else's."""
    params: Any = {"customer": customer_id}
    options = once(operation, "attach")
    try:
        attached = ask(
            "payment_methods.attach", lambda stripe: stripe.v1.payment_methods.attach(payment_method, params, options)
        )
    except ProviderRejected as error:
        text = "Stripe does not accept this payment method."
        raise Refused("payment_method_invalid", text, {"reason": error.reason}) from error
    return str(attached["id"])


def prefer_card(operation: BillingOperation, customer_id: str, payment_method: str) -> None:
    """What the customer pays with from now on."""
    params: Any = {"invoice_settings": {"default_payment_method": payment_method}}
    ask("customers.update", lambda stripe: stripe.v1.customers.update(customer_id, params, once(operation, "prefer")))


def subscriptions(customer_id: str) -> Answer:
    """All subscriptions of the customer, as one page of Stripe's list."""
    params: Any = {"customer": customer_id, "status": "all", "limit": PAGE}
    return ask("subscriptions.list", lambda stripe: stripe.v1.subscriptions.list(params))


def standing(customer_id: str) -> list[Answer]:
    """The customer's subscriptions that have begun and not ended."""
    page = subscriptions(customer_id)
    return [page.part(each) for each in page["data"] if each["status"] not in (*ENDED, INCOMPLETE)]
