"""The job of an operation: ask Stripe for it, and write what came of it together with its end.

Every call has a key that is made of the operation's id, so a job that runs again, or twice at once, asks for the same thing.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import Counter, Histogram

from models.billing import events, notices, stripe_sync
from models.billing.customers import BillingCustomer
from models.billing.operations import (
    CANCEL,
    CHANGES,
    CHECKOUT,
    CHECKOUT_PAID,
    PORTAL,
    PREVIEW,
    PROVISION,
    START,
    UPDATE,
    BillingOperation,
)
from models.billing.subscription import Subscription
from models.platform.clock import now
from models.platform.database import in_transaction, release, transaction
from models.platform.ids import parse_uuid
from models.platform.locks import lock
from models.platform.settings import settings
from workers.billing import changing, checkout_paid, starting
from workers.billing.asking import Outcome, Refused, order_of
from workers.gateways.stripe import CardDeclined, ProviderAuthentication, ProviderError, ProviderRejected
from workers.jobs import BILLING_OPERATION, BILLING_OPERATION_FAIL, BILLING_REFRESH, enqueue
from workers.runtime import Lease, actor

log = logging.getLogger(__name__)
MINUTE, HOUR = 60, 3600

OPERATIONS = Counter(
    "stripe_gateway_operations_total",
    "Operations towards Stripe that have ended.",
    ["operation", "plan_code", "result"],
)
SECONDS = Histogram(
    "stripe_gateway_operation_duration_seconds",
    "Time from the wish to its end.",
    ["operation"],
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14_400),
)
OPERATIONS.labels("start", "", "success")  # exported as 0 before the first one
SECONDS.labels("start")


@dataclass(frozen=True, slots=True)
class Kind:
    """How operations of a kind are done.

    do        asks Stripe, and may be called again
    patience  seconds after which it is given up if Stripe cannot be reached. Less than the day for which Stripe knows a key
    find      looks at Stripe for what has become of it when answers were lost; None: nothing would stay of it
    event     the type of the event that tells of it
    """

    do: Callable[[BillingOperation], Outcome]
    patience: float
    find: Callable[[BillingOperation], Outcome | None] | None = None
    event: str | None = None


# fmt: off
KINDS = {
    START:     Kind(starting.start,     15 * MINUTE, starting.find_started,   "longshore.subscription.started"),
    PROVISION: Kind(starting.start,     8 * HOUR,    starting.find_started,   "longshore.subscription.started"),
    UPDATE:    Kind(changing.update,    15 * MINUTE, changing.find_updated,   "longshore.subscription.updated"),
    CANCEL:    Kind(changing.cancel,    15 * MINUTE, changing.find_cancelled, "longshore.subscription.canceled"),
    CHECKOUT_PAID: Kind(checkout_paid.settle, 8 * HOUR),
    CHECKOUT:  Kind(starting.checkout,  MINUTE),
    PORTAL:    Kind(starting.portal,    MINUTE),
    PREVIEW:   Kind(changing.preview,   MINUTE),
}
# fmt: on


@actor(BILLING_OPERATION)
def run_operation(lease: Lease) -> None:
    operation = _open_operation(lease)
    if operation is None:
        return
    kind = KINDS[operation.kind]
    try:
        outcome = kind.do(operation)
    except Refused as refused:
        _fail(lease, operation, refused)
    except ProviderError as error:
        if not _is_over(operation, kind, error):
            raise
        _give_up(lease, operation, error)
    else:
        _succeed(lease, operation, outcome)


@actor(BILLING_OPERATION_FAIL)
def fail_operation(lease: Lease) -> None:
    """No attempt is left. What Stripe has made of it counts; if nothing, or if it cannot be asked, the operation has failed."""
    operation = _open_operation(lease)
    if operation is not None:
        _give_up(lease, operation, None)


def _open_operation(lease: Lease) -> BillingOperation | None:
    operation_id = parse_uuid(lease.job.args["operation_id"])
    operation = BillingOperation.reload(operation_id) if operation_id else None
    release()
    return None if operation is None or operation.is_finished else operation


def _is_over(operation: BillingOperation, kind: Kind, error: ProviderError) -> bool:
    """Whether trying again makes no sense. An account that is there already can wait until the key is put right."""
    may_heal = error.may_heal or (isinstance(error, ProviderAuthentication) and operation.kind == PROVISION)
    return not may_heal or (now() - operation.created_at).total_seconds() > kind.patience


def _give_up(lease: Lease, operation: BillingOperation, error: ProviderError | None) -> None:
    """An answer may have been lost: ask once more what there is."""
    found, find = None, KINDS[operation.kind].find
    if find is not None and not isinstance(error, CardDeclined | ProviderAuthentication):
        try:
            found = find(operation)
        except ProviderError as away:
            log.warning("billing.outcome_unknown", extra={"operation_id": str(operation.id), "reason": away.code})
    if found is not None:
        _succeed(lease, operation, found)
    else:
        _fail(lease, operation, _refusal(error))


def _refusal(error: ProviderError | None) -> Refused:
    if error is None:
        return Refused("internal_error", "The change could not be made. Ask the operators, and name the operation.")
    details = {}
    if isinstance(error, CardDeclined):
        details = {"decline_code": error.decline_code}
    elif isinstance(error, ProviderRejected):
        details = {"param": error.param, "reason": error.reason}
    return Refused(error.code, error.message, details)


def _succeed(lease: Lease, operation: BillingOperation, outcome: Outcome) -> None:
    with transaction():
        lease.job.finish()
        lock("billing", operation.tenant_id)  # first, as whoever opens an operation does
        if operation.succeed(dict(outcome.result)):
            _apply(operation, outcome)
            _tell(operation)
    _count(operation, "success")


def _fail(lease: Lease, operation: BillingOperation, refused: Refused) -> None:
    with transaction():
        lease.job.finish()
        lock("billing", operation.tenant_id)
        if operation.fail(refused.code, refused.message, refused.details):
            _apply(operation, Outcome(subscriptions=refused.subscriptions))
            if operation.kind in CHANGES:
                _take_back(operation)
                _notice(operation, refused.message)
            _tell(operation)
    _count(operation, refused.code)


@in_transaction
def _apply(operation: BillingOperation, outcome: Outcome) -> None:
    for answer in outcome.subscriptions:
        applied = stripe_sync.apply_subscription(answer, order_of(answer), operation.tenant_id)
        if applied.is_tied and not applied.is_news:  # an event of this second came in between
            enqueue(BILLING_REFRESH, subscription_id=answer["id"])
    if outcome.email:
        BillingCustomer.keep_email(operation.tenant_id, outcome.email)
        Subscription.update(billing_email=outcome.email).where(Subscription.tenant_id == operation.tenant_id).execute()


@in_transaction
def _take_back(operation: BillingOperation) -> None:
    """The row says again what Stripe last said; if it never said anything, there is no subscription."""
    stripe_sync.derive(operation.tenant_id)
    is_never_made = (Subscription.tenant_id == operation.tenant_id) & Subscription.stripe_subscription_id.is_null()
    Subscription.delete().where(is_never_made).execute()


@in_transaction
def _notice(operation: BillingOperation, message: str) -> None:
    """People are told of what has failed after their request was answered as pending."""
    if (now() - operation.created_at).total_seconds() > settings.billing_wait_seconds:
        notices.operation_failed(operation.tenant_id, operation.id, operation.kind, message)


@in_transaction
def _tell(operation: BillingOperation) -> None:
    """The tenant's own event of it. Last in the transaction: it locks the tenant's events."""
    event, row = KINDS[operation.kind].event, Subscription.of_tenant(operation.tenant_id)
    if operation.kind not in CHANGES or event is None:
        return
    if operation.error_code:
        text = f"{operation.kind.capitalize()} failed: {operation.error_message}"
        events.record(
            operation.tenant_id, "longshore.operation.failed", status="failed", summary=text, subscription=row
        )
    else:
        events.record(operation.tenant_id, event, subscription=row)


def _count(operation: BillingOperation, result: str) -> None:
    """Counted and logged: what it was, and how it ended."""
    log.info(
        "billing.operation_ended",
        extra={
            "operation_id": str(operation.id),
            "operation": operation.kind,
            "tenant_id": str(operation.tenant_id),
            "result": result,
        },
    )
    plan_code = operation.request.get("plan_code") or "same"  # of our plan file: callers cannot make labels
    OPERATIONS.labels(operation.kind, plan_code, result).inc()
    SECONDS.labels(operation.kind).observe((now() - operation.created_at).total_seconds())
