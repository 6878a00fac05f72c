"""Stripe's events: taken from the inbox one by one, each in a transaction of its own, and handled by their type."""

import logging
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from models.billing import inbox, notices, stripe_sync
from models.billing.events import InboxEvent
from models.billing.inbox import RESULTS
from models.billing.invoices import apply_invoice
from models.billing.startup import key_mode
from models.billing.stripe_order import Order
from models.billing.stripe_tenants import NotYet, Object, find_tenant
from models.jobs.ledger import RUNNING, Job
from models.platform.database import in_transaction, transaction
from models.platform.settings import settings
from workers.billing.checkout_paid import page_paid
from workers.gateways.stripe import NotThere, call
from workers.jobs import BILLING_EVENTS, BILLING_REFRESH, BILLING_TELL, enqueue
from workers.runtime import Lease, actor

log = logging.getLogger(__name__)
AT_ONCE = 4  # jobs that work on the inbox: the others leave it to them
SECONDS = 20  # that one job works before it leaves the rest to a new one
Handler = Callable[[Object, Order], UUID | None]


@actor(BILLING_EVENTS)
def process_events(lease: Lease) -> None:
    """Process what is due. A crash loses nothing: what it had not committed is still due."""
    if _others(lease.job) >= AT_ONCE:
        return
    end = time.monotonic() + SECONDS
    while process_next():
        lease.checkpoint()
        if time.monotonic() > end:
            with transaction():
                lease.job.finish()
                enqueue(BILLING_EVENTS)
            return


@actor(BILLING_REFRESH)
def refresh(lease: Lease) -> None:
    """Read a subscription of which Stripe's events have said two things in one second: its API says which is true."""
    time.sleep(1.1)  # Stripe's times are whole seconds: an answer of that second would be no newer
    subscription_id = lease.job.args["subscription_id"]
    try:
        answer = call("subscriptions.retrieve", lambda stripe: stripe.v1.subscriptions.retrieve(subscription_id))
    except NotThere:
        log.warning("billing.refresh_found_nothing", extra={"subscription": subscription_id})
        return
    with transaction():
        lease.job.finish()
        stripe_sync.apply_subscription(answer, Order.of_answer(answer.at, lease.job.id.hex))


def process_next() -> bool:
    """Process the event that has been due for longest. False if there is none. Its failure is its own: see `inbox.fail`."""
    with transaction():
        row = inbox.take()
        if row is None:
            return False
        try:
            with transaction():  # a savepoint: what a failed attempt has written is undone, and the failure recorded
                result = _process(row)
        except Exception as error:  # noqa: BLE001  (a handler's fault concerns one event)
            result = _fail(row, error)
    RESULTS.labels(row.type, result).inc()
    return True


@in_transaction
def _process(row: InboxEvent) -> str:
    payload = row.payload or {}
    if _is_foreign(payload):
        log.warning("billing.event_foreign", extra={"event": row.external_id, "type": row.type})
        inbox.finish(row, None)
        return "ignored"
    thing, handle = payload["data"]["object"], HANDLERS.get(row.type)
    tenant_id = handle(thing, Order.of_event(payload)) if handle else find_tenant(thing)
    if tenant_id is not None and notices.of_stripe_event(tenant_id, payload):
        enqueue(BILLING_TELL)  # sooner than the cron table does
    inbox.finish(row, tenant_id)
    return "dispatched"


def _fail(row: InboxEvent, error: Exception) -> str:
    is_parked = inbox.fail(row, error)
    fields = {"event": row.external_id, "type": row.type, "attempts": row.attempts + 1}
    if isinstance(error, NotYet):
        log.info("billing.event_waits", extra={**fields, "reason": str(error)})
    else:
        log.error("billing.event_failed", extra=fields, exc_info=error)
    if is_parked:
        return "parked"
    return "waiting" if isinstance(error, NotYet) else "dispatch_failed"


def _is_foreign(payload: dict[str, Any]) -> bool:
    """Whether it is of another world than our key: of the other mode, or of an account that is only connected to ours."""
    mode = key_mode(settings.stripe_secret_key)
    return bool(payload.get("account")) or (mode is not None and payload.get("livemode") is not (mode == "live"))


def _others(job: Job) -> int:
    is_other = (Job.name == job.name) & (Job.state == RUNNING) & (Job.id != job.id)
    return int(Job.select().where(is_other).count())


def _subscription(thing: Object, order: Order) -> UUID:
    applied = stripe_sync.apply_subscription(thing, order)
    if applied.is_tied:
        enqueue(BILLING_REFRESH, subscription_id=thing["id"])
    return applied.tenant_id


def _customer(thing: Object, order: Order) -> UUID | None:
    """Customers of ours always name their tenant. Others are not waited for."""
    tenant_id = find_tenant(thing)
    return None if tenant_id is None else stripe_sync.apply_customer(thing, order, tenant_id)


# What an event of a type changes, and whose it is. Events of other types are kept, numbered and shown.
HANDLERS: dict[str, Handler] = {
    "customer.subscription.created": _subscription,
    "customer.subscription.updated": _subscription,
    "customer.subscription.deleted": _subscription,
    "customer.subscription.paused": _subscription,
    "customer.subscription.resumed": _subscription,
    "customer.subscription.pending_update_applied": _subscription,
    "customer.subscription.pending_update_expired": _subscription,
    "customer.subscription.trial_will_end": _subscription,
    "invoice.finalized": apply_invoice,
    "invoice.finalization_failed": apply_invoice,
    "invoice.paid": apply_invoice,
    "invoice.payment_succeeded": apply_invoice,
    "invoice.payment_failed": apply_invoice,
    "invoice.payment_action_required": apply_invoice,
    "invoice.marked_uncollectible": apply_invoice,
    "invoice.voided": apply_invoice,
    "invoice.sent": apply_invoice,
    "invoice.overdue": apply_invoice,
    "invoice.updated": apply_invoice,
    "invoice.upcoming": apply_invoice,
    "checkout.session.completed": page_paid,
    "customer.created": _customer,
    "customer.updated": _customer,
    "customer.deleted": _customer,
}
