"""A Stripe for tests of workers, and operations towards it."""

import pytest

from tests.support.billing import account, priced, stripe_account, stripe_part, work  # noqa: F401  (fixtures)


@pytest.fixture
def ask_for(tenant, account):  # noqa: F811
    """ask_for("start", plan_code="pro", ...) -> the open operation of a wish, whose job waits."""
    from models.billing import changes
    from models.platform.database import transaction
    from workers.jobs import BILLING_OPERATION, enqueue

    def make(kind, tenant=tenant, **wish):
        with transaction():
            operation = {
                "start": lambda: changes.start(tenant.id, changes.Start(**wish), "user:test"),
                "provision": lambda: changes.provision(tenant.id, changes.Start(**wish), "user:test"),
                "update": lambda: changes.update(tenant.id, changes.Update(**wish), "user:test"),
                "cancel": lambda: changes.cancel(tenant.id, by="user:test", **wish)[0],
                "preview": lambda: changes.preview(tenant.id, changes.Update(**wish), "user:test"),
                "portal": lambda: changes.portal(tenant.id, "http://localhost/", "user:test"),
                "checkout": lambda: changes.checkout(tenant.id, changes.Start(**wish), URLS, "user:test"),
            }[kind]()
            if operation:
                enqueue(BILLING_OPERATION, tenant_id=tenant.id, operation_id=str(operation.id))
        return operation

    return make


URLS = {"success_url": "http://localhost/paid", "cancel_url": "http://localhost/"}


@pytest.fixture
def done(ask_for):
    """done("start", plan_code="pro", ...) -> the operation after its job."""
    from models.billing.operations import BillingOperation

    def make(kind, **wish):
        operation = ask_for(kind, **wish)
        work()
        return BillingOperation.reload(operation.id)

    return make


@pytest.fixture
def without_trial(tenant):
    """The tenant has had its trial."""
    from models.billing.customers import BillingCustomer
    from models.platform.database import transaction

    with transaction():
        BillingCustomer.use_trial(tenant.id)


@pytest.fixture
def row(tenant):
    """row() -> the tenant's subscription as it is now."""
    from models.billing.subscription import Subscription

    return lambda: Subscription.of_tenant(tenant.id)


@pytest.fixture
def told(tenant):
    """told() -> the types of our own events that the tenant has been told, in order."""
    from models.billing.events import InboxEvent

    query = InboxEvent.select().where(InboxEvent.tenant_id == tenant.id).order_by(InboxEvent.position)
    return lambda: [event.type for event in query]
