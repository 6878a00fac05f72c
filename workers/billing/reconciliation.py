"""Comparing our rows with Stripe: what we have missed is taken over, what cannot be explained is reported.

Every difference is a line of the audit log and counts in `billing_drift_total`. A person looks at those that are not mended.
"""

import logging
from collections import Counter as Tally
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from prometheus_client import Counter, Gauge

from models.billing import changes, stripe_sync, usage_batches
from models.billing.customers import BillingCustomer
from models.billing.operations import FAILED, PENDING, PROVISION, SYSTEM, BillingOperation
from models.billing.stripe_tenants import NotYet, find_tenant, id_of
from models.billing.subscription import ENDED, INCOMPLETE
from models.jobs.ledger import FINISHED, Job
from models.platform import audit
from models.platform.clock import now
from models.platform.database import database, release, transaction
from models.platform.errors import DomainError
from models.platform.limits import Slot
from models.platform.settings import settings
from workers.billing import customers, usage_comparison
from workers.billing.asking import ask, order_of, subscription
from workers.gateways.stripe import Answer, NotThere, ProviderError, every
from workers.jobs import BILLING_OPERATION, BILLING_OPERATION_FAIL, BILLING_RECONCILE, enqueue
from workers.runtime import Lease, actor

log = logging.getLogger(__name__)
USAGE_LATE_SECONDS = 86_400  # age of usage that could have been sent
KEPT_DAYS = 40  # of batches, whatever the setting: they are compared with Stripe
STUCK_AFTER = timedelta(hours=1)  # an operation without a job, or one that its job does not end
# What an account's first subscription has failed with, if trying again may help.
MAY_HEAL = ("provider_unavailable", "provider_authentication", "internal_error")
MIRROR = "select object from stripe_subscription where stripe_subscription_id = %(id)s"
LIVE = """
select stripe_subscription_id, tenant_id from stripe_subscription
where is_live and tenant_id = coalesce(%(tenant_id)s, tenant_id) order by stripe_subscription_id"""
# Tenants that have no subscription since the operation that should have made it has failed.
UNPROVISIONED = """
select distinct on (tenant_id) tenant_id, request, error_code from billing_operation
where kind = %(kind)s and state = %(state)s and tenant_id = coalesce(%(tenant_id)s, tenant_id)
    and not exists (select 1 from subscription where subscription.tenant_id = billing_operation.tenant_id)
order by tenant_id, created_at desc"""
METERED = """
select tenant_id from billing_customer
where stripe_customer_id is not null and tenant_id = coalesce(%(tenant_id)s, tenant_id)
    and exists (select 1 from usage_batch where usage_batch.tenant_id = billing_customer.tenant_id) order by tenant_id"""

DRIFT = Counter("billing_drift_total", "Differences between our rows and Stripe.", ["kind", "mended"])
RECONCILED = Gauge(
    "billing_reconciled_timestamp_seconds", "When the last reconciliation ended.", multiprocess_mode="mostrecent"
)


@dataclass(frozen=True, slots=True)
class Drift:
    """`kind`: one of a few names. `mended`: whether our rows are right now."""

    kind: str
    thing: str
    tenant_id: UUID | None
    mended: bool
    reason: str = ""


@dataclass
class Reconciliation:
    """One comparison, of one tenant or of all. `mend`: take over what is missing; otherwise only look."""

    tenant_id: UUID | None = None
    mend: bool = True
    pause: Callable[[], None] = lambda: None  # called between two objects: may end the work by raising
    drifts: list[Drift] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    standing: Tally[UUID] = field(default_factory=Tally)

    def run(self) -> list[Drift]:
        """Raises QuotaExceeded if another one is under way, ProviderError if Stripe cannot be listed."""
        slot = Slot.take("billing_reconciliation", 1)
        try:
            for step, things in (
                (self._customer, self._customers()),
                (self._subscription, self._subscriptions()),
                (self._unseen, self._live()),
                (self._stuck, iter(self._open_operations())),
                (self._unprovisioned, iter(self._without_subscription())),
                (self._usage, iter(self._metered())),
            ):
                for thing in things:
                    if slot:
                        slot.renew()
                    self.pause()
                    self._guarded(step, thing)
            for tenant_id, count in self.standing.items():
                if count > 1:
                    self._found("two_subscriptions", f"{count} subscriptions", tenant_id)
            if self.tenant_id is None:
                self._late_usage()
        finally:
            if slot:
                slot.release()
        if self.tenant_id is None and self.mend:
            RECONCILED.set_to_current_time()
        return self.drifts

    def _guarded(self, step: Callable[[Any], None], thing: Any) -> None:
        """What fails with one object is reported, and the others go on."""
        try:
            step(thing)
        except NotYet as error:
            self._found(error.code, _name(thing), None, reason=str(error))
        except ProviderError as error:
            self._found(error.code, _name(thing), None, reason=error.message)
        except Exception as error:  # a fault concerns one object
            log.exception("billing.not_compared", extra={"object": _name(thing)})
            self._found("internal_error", _name(thing), None, reason=type(error).__name__)
        finally:
            release()

    def _found(self, kind: str, thing: str, tenant_id: UUID | None, *, mended: bool = False, reason: str = "") -> None:
        drift = Drift(kind, thing, tenant_id, mended, reason)
        self.drifts.append(drift)
        DRIFT.labels(kind, "yes" if mended else "no").inc()
        log.warning("billing.drift", extra={"kind": kind, "object": thing, "mended": mended, "reason": reason})
        with transaction():
            subject = f"tenant:{tenant_id}" if tenant_id else None
            audit.record("billing.drift", SYSTEM, subject, tenant_id=tenant_id, kind=kind, object=thing, mended=mended)

    # ------------------------------------------------------------ what Stripe has

    def _customers(self) -> Iterator[Answer]:
        if self.tenant_id is None:
            return every("customers.list", lambda stripe, page: stripe.v1.customers.list(page))
        known = BillingCustomer.stripe_id(self.tenant_id)
        return iter([ask("customers.retrieve", lambda stripe: stripe.v1.customers.retrieve(known))] if known else [])

    def _customer(self, customer: Answer) -> None:
        """A tenant has one customer. One that we do not know was made twice, or elsewhere."""
        tenant_id = find_tenant(customer)
        if tenant_id is None:
            self._found("customer_unknown", customer["id"], None)
            return
        known = BillingCustomer.get_or_none(BillingCustomer.tenant_id == tenant_id)
        if known is not None and known.stripe_customer_id not in (None, customer["id"]):
            self._found("customer_doubled", customer["id"], tenant_id)
        elif known is None or known.stripe_customer_id is None or known.email != customer.get("email"):
            if self.mend:
                with transaction():
                    stripe_sync.apply_customer(customer, order_of(customer), tenant_id)
            self._found("customer_changed", customer["id"], tenant_id, mended=self.mend)

    def _subscriptions(self) -> Iterator[Answer]:
        if self.tenant_id is None:
            return every("subscriptions.list", lambda stripe, page: stripe.v1.subscriptions.list(page), status="all")
        known = BillingCustomer.stripe_id(self.tenant_id)
        page = customers.subscriptions(known) if known else None
        return iter([page.part(each) for each in page["data"]] if page else [])

    def _subscription(self, thing: Answer) -> None:
        self.seen.add(thing["id"])
        tenant_id = find_tenant(thing)
        if tenant_id is None:
            self._found("subscription_unknown", thing["id"], None)
            return
        if thing["status"] not in (*ENDED, INCOMPLETE):
            self.standing[tenant_id] += 1
        mirror = database.execute_prepared(MIRROR, {"id": thing["id"]}).fetchone()
        if mirror is None or _essence(mirror[0]) != _essence(thing):
            kind = "subscription_missed" if mirror is None else "subscription_changed"
            if self.mend:
                with transaction():
                    stripe_sync.apply_subscription(thing, order_of(thing), tenant_id)
            self._found(kind, thing["id"], tenant_id, mended=self.mend)

    # ------------------------------------------------------------ what we have

    def _live(self) -> Iterator[tuple[str, UUID]]:
        return iter(database.execute_prepared(LIVE, {"tenant_id": self.tenant_id}).fetchall())

    def _unseen(self, row: tuple[str, UUID]) -> None:
        """One that Stripe's list did not have: it has begun since, or Stripe does not know it."""
        subscription_id, tenant_id = row
        if subscription_id in self.seen:
            return
        try:
            found = subscription(subscription_id)
        except NotThere:
            self._found("subscription_gone", subscription_id, tenant_id)
        else:
            self._subscription(found)

    def _open_operations(self) -> list[BillingOperation]:
        is_old = (BillingOperation.state == PENDING) & (BillingOperation.created_at < now() - STUCK_AFTER)
        query = BillingOperation.select().where(is_old)
        return list(query.where(BillingOperation.tenant_id == self.tenant_id) if self.tenant_id else query)

    def _stuck(self, operation: BillingOperation) -> None:
        """One that no job works on (any more) gets another."""
        names = (BILLING_OPERATION.name, BILLING_OPERATION_FAIL.name)
        is_its = Job.name.in_(names) & (Job.args["operation_id"] == str(operation.id))
        if Job.select(Job.id).where(is_its & Job.state.not_in(FINISHED)).exists():
            return
        if self.mend:
            with transaction():
                enqueue(BILLING_OPERATION, tenant_id=operation.tenant_id, operation_id=str(operation.id))
        self._found("operation_stuck", str(operation.id), operation.tenant_id, mended=self.mend)

    def _without_subscription(self) -> list[tuple[UUID, dict[str, Any], str]]:
        values = {"kind": PROVISION, "state": FAILED, "tenant_id": self.tenant_id}
        return list(database.execute_prepared(UNPROVISIONED, values).fetchall())

    def _unprovisioned(self, row: tuple[UUID, dict[str, Any], str]) -> None:
        """The first subscription of an account, which could not be made when it was registered."""
        tenant_id, request, code = row
        if code not in MAY_HEAL:
            return
        wish = changes.Start(
            plan_code=request["plan_code"], billing_email=request["billing_email"], longest_trial=request["trial_days"]
        )
        mended, reason = False, ""
        if self.mend:
            try:
                with transaction():
                    operation = changes.provision(tenant_id, wish, SYSTEM)
                    mended = operation is not None  # or it has to be paid at once by now
                    if operation:
                        enqueue(BILLING_OPERATION, tenant_id=tenant_id, operation_id=str(operation.id))
            except DomainError as error:  # such as a plan that is not sold any more, or more members than it has seats
                mended, reason = False, error.message
        self._found("subscription_never_made", request["plan_code"], tenant_id, mended=mended, reason=reason)

    def _late_usage(self) -> None:
        """Stripe takes usage for some weeks only."""
        if (seconds := usage_batches.oldest_seconds()) > USAGE_LATE_SECONDS:
            self._found("usage_late", f"{seconds / 3600:.0f} hours old", None)

    def _metered(self) -> list[tuple[UUID]]:
        return list(database.execute_prepared(METERED, {"tenant_id": self.tenant_id}).fetchall())

    def _usage(self, row: tuple[UUID]) -> None:
        """What Stripe's meters have of a tenant is what was sent to them."""
        for one in usage_comparison.compare_settled(row[0]):
            if not one.is_right:
                self._found("usage_differs", f"{one.feature}: sent {one.sent}, at Stripe {one.at_stripe}", row[0])


def _essence(subscription: Mapping[str, Any]) -> list[Any]:
    """What of a subscription matters to us. Other fields may differ by how they were written."""
    names = ("status", "cancel_at", "cancel_at_period_end", "ended_at", "start_date", "trial_start", "trial_end")
    parts = ("id", "quantity", "current_period_start", "current_period_end")
    items = [[id_of(item["price"]), *map(item.get, parts)] for item in subscription["items"]["data"]]
    return [id_of(subscription["customer"]), *map(subscription.get, names), *sorted(items)]


def _name(thing: Any) -> str:
    """What a difference calls the thing that could not be compared."""
    return str(thing["id"]) if isinstance(thing, dict) else str(thing[0]) if isinstance(thing, tuple) else str(thing.id)


@actor(BILLING_RECONCILE)
def reconcile(lease: Lease) -> None:
    """Nightly. What it finds is in the audit log and the metric."""
    if settings.enable_billing:
        Reconciliation(pause=lease.checkpoint).run()
        days = settings.billing_event_retention_days
        while BillingOperation.purge(days) or usage_batches.purge(max(days, KEPT_DAYS)):
            lease.checkpoint()
