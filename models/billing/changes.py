"""What a tenant may ask of its subscription. Each function checks the wish, and writes the rows and the operation of it.

The caller enqueues the operation's job in the same transaction. Nothing is asked of Stripe before all checks have passed.
"""

from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from peewee import fn

from models.auth import seats as seating
from models.auth.tenants import Plan, Tenant
from models.billing import plans
from models.billing.customers import BillingCustomer, has_used_trial
from models.billing.operations import (
    CANCEL,
    CHECKOUT,
    PORTAL,
    PREVIEW,
    PROVISION,
    START,
    UPDATE,
    BillingOperation,
    ChangePending,
)
from models.billing.subscription import ACTIVE, ENDED, INCOMPLETE, TRIALING, Subscription, SubscriptionNotFound
from models.platform import locks
from models.platform.client_info import UNKNOWN_CLIENT, ClientInfo
from models.platform.clock import now
from models.platform.database import in_transaction
from models.platform.errors import BadRequest, Conflict, DomainError, NotFound
from models.platform.principal import Principal

NOTHING_GIVEN = "No subscription fields provided for update."


class TenantNotFound(NotFound):
    code, message = "tenant_not_found", "Tenant not found."


class SubscriptionExists(Conflict):
    code, message = "subscription_exists", "The tenant has a subscription. Change its plan instead of starting another."


class SubscriptionEnded(Conflict):
    code, message = "subscription_ended", "The subscription has ended. Start a new one."


class SubscriptionNotConfirmed(Conflict):
    code, message = "subscription_not_confirmed", "Subscription is missing processor identifier."


class SeatsBelowMembers(Conflict):
    code = "seats_below_members"

    def __init__(self, seats: int, members: int):
        text = f"The tenant has {members} members, who need as many seats."
        super().__init__(text, details={"seat_count": seats, "members": members})


class PaymentRequired(DomainError):
    """The plan costs something from the first day, and no payment method is known."""

    status, code = 402, "payment_required"
    message = "This plan needs a payment method: send the customer to the page that the checkout endpoint gives."

    @classmethod
    def of_tenant(cls, tenant_id: UUID) -> "PaymentRequired":
        return cls(details={"checkout": f"/api/v1/billing/tenants/{tenant_id}/checkout"})


class NothingToUpdate(BadRequest):
    code, message = "nothing_to_update", NOTHING_GIVEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """`seat_count`: None for the seats that the plan includes. `payment_method`, `promotion_code`: as Stripe knows them.

    `longest_trial`: days, if the trial is to be shorter than the plan's.
    """

    plan_code: str
    seat_count: int | None = None
    billing_email: str | None = None
    auto_renew: bool = True
    payment_method: str | None = None
    promotion_code: str | None = None
    longest_trial: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """None stays as it is. `proration_behavior`: Stripe's name for what happens to the days that are paid already."""

    auto_renew: bool | None = None
    billing_email: str | None = None
    seat_count: int | None = None
    plan_code: str | None = None
    proration_behavior: str = "create_prorations"

    @property
    def is_empty(self) -> bool:
        return (self.auto_renew, self.billing_email, self.seat_count, self.plan_code) == (None,) * 4


@in_transaction
def start(tenant_id: UUID, wish: Start, by: Principal | str, client: ClientInfo = UNKNOWN_CLIENT) -> BillingOperation:
    """Start a subscription. The tenant's row says `incomplete` until Stripe has made it.

    Raises PlanNotFound, PlanNotSold, PlanNotPriced, SeatsNotSold, TenantNotFound, SubscriptionExists, SeatsBelowMembers, PaymentRequired, ChangePending.
    """
    _require_startable(tenant_id)
    request = _order(tenant_id, wish)
    knows_no_card = not wish.payment_method and not BillingCustomer.stripe_id(tenant_id)
    if request["is_payable"] and knows_no_card:
        raise PaymentRequired.of_tenant(tenant_id)
    _write_row(tenant_id, request, INCOMPLETE)
    return BillingOperation.open(tenant_id, START, request, by, client)


@in_transaction
def provision(
    tenant_id: UUID, wish: Start, by: Principal | str, client: ClientInfo = UNKNOWN_CLIENT
) -> BillingOperation | None:
    """The subscription that comes with an account. None if its plan has to be paid at once: then the tenant starts it itself.

    Nothing is to be paid yet, so the tenant has it right away, whether or not Stripe can be reached. Raises as `start` does.
    """
    _require_startable(tenant_id)
    request = _order(tenant_id, wish)
    if request["is_payable"]:
        return None
    _write_row(tenant_id, request, TRIALING if request["trial_days"] else ACTIVE)
    Tenant.update(seats=request["seat_count"]).where(Tenant.id == tenant_id).execute()
    return BillingOperation.open(tenant_id, PROVISION, request, by, client)


@in_transaction
def update(
    tenant_id: UUID, wish: Update, by: Principal | str, client: ClientInfo = UNKNOWN_CLIENT
) -> BillingOperation | None:
    """Change a subscription. None if it is so already.

    Raises NothingToUpdate, SubscriptionNotFound, SubscriptionEnded, SubscriptionNotConfirmed, PlanNotFound, PlanNotSold, PlanNotPriced, SeatsNotSold,
    SeatsBelowMembers, ChangePending.
    """
    if wish.is_empty:
        raise NothingToUpdate()
    row = _changeable(tenant_id)
    changes = _changes(row, wish)
    if not changes:
        return None
    request = changes | _lines_of_change(row, wish, changes) | {"subscription": row.stripe_subscription_id}
    if request.get("seat_count"):
        _cap_seats(tenant_id, request["seat_count"])
    return BillingOperation.open(tenant_id, UPDATE, request, by, client)


@in_transaction
def cancel(
    tenant_id: UUID, *, at_period_end: bool, by: Principal | str, client: ClientInfo = UNKNOWN_CLIENT
) -> tuple[BillingOperation | None, bool]:
    """Cancel a subscription: (the operation, whether it is new). No operation if it is cancelled already; the open one if
    the same has been asked for before.

    Raises SubscriptionNotFound, SubscriptionNotConfirmed, ChangePending.
    """
    row = _row(tenant_id)
    request = {"at_period_end": at_period_end, "subscription": row.stripe_subscription_id}
    pending = BillingOperation.open_change(tenant_id)
    if pending is not None and (pending.kind, pending.request) == (CANCEL, request):
        return pending, False
    is_cancelled = row.has_ended or (at_period_end and not row.auto_renew and row.cancel_at)
    if is_cancelled and pending is None:  # an open change may start it, or take the cancellation back
        return None, False
    _require_confirmed(row, pending)
    return BillingOperation.open(tenant_id, CANCEL, request, by, client), True


@in_transaction
def checkout(
    tenant_id: UUID, wish: Start, urls: dict[str, str], by: Principal | str, client: ClientInfo = UNKNOWN_CLIENT
) -> BillingOperation:
    """A page of Stripe's where the tenant pays for a plan. A trial or a free plan ends when the new subscription begins.

    Raises as `start` does; SubscriptionExists if the tenant pays for a subscription already.
    """
    row = _locked_tenants_row(tenant_id)
    if (
        row is not None
        and row.status not in (*ENDED, TRIALING, INCOMPLETE)
        and _due(Plan.by_code(row.plan_code), row.seat_count)
    ):
        raise SubscriptionExists()
    if pending := BillingOperation.open_change(tenant_id):
        raise ChangePending(pending)  # it may make the subscription that the page would sell
    return BillingOperation.open(tenant_id, CHECKOUT, _order(tenant_id, wish) | urls, by, client)


@in_transaction
def portal(
    tenant_id: UUID, return_url: str, by: Principal | str, client: ClientInfo = UNKNOWN_CLIENT
) -> BillingOperation:
    """A page of Stripe's where the tenant changes its payment methods. TenantNotFound."""
    if Tenant.get_or_none(Tenant.id == tenant_id) is None:
        raise TenantNotFound()
    return BillingOperation.open(tenant_id, PORTAL, {"return_url": return_url}, by, client)


@in_transaction
def preview(tenant_id: UUID, wish: Update, by: Principal | str) -> BillingOperation:
    """What a change of the plan or the seats would cost. Raises as `update` does."""
    row = _changeable(tenant_id)
    changes = _changes(row, wish)
    request = changes | _lines_of_change(row, wish, changes) | {"subscription": row.stripe_subscription_id}
    return BillingOperation.open(tenant_id, PREVIEW, request | {"proration_behavior": wish.proration_behavior}, by)


# ---------------------------------------------------------------- checks


def _locked_tenants_row(tenant_id: UUID) -> Subscription | None:
    """The subscription's row, under a lock of the tenant, whose members cannot change meanwhile. TenantNotFound."""
    locks.lock("billing", tenant_id)  # what Stripe says of it comes after, or before
    seating.lock_seats(tenant_id)
    if Tenant.get_or_none(Tenant.id == tenant_id) is None:
        raise TenantNotFound()
    return Subscription.of_tenant(tenant_id)


def _require_startable(tenant_id: UUID) -> None:
    row = _locked_tenants_row(tenant_id)
    if row is not None and not row.has_ended:
        pending = BillingOperation.open_change(tenant_id)
        raise SubscriptionExists(details={"operation_id": str(pending.id)} if pending else None)


def _row(tenant_id: UUID) -> Subscription:
    row = _locked_tenants_row(tenant_id)
    if row is None:
        raise SubscriptionNotFound(f"Tenant '{tenant_id}' does not have an active subscription.")
    return row


def _changeable(tenant_id: UUID) -> Subscription:
    row = _row(tenant_id)
    if row.has_ended:
        raise SubscriptionEnded()
    _require_confirmed(row, BillingOperation.open_change(tenant_id))
    return row


def _require_confirmed(row: Subscription, pending: BillingOperation | None) -> None:
    if pending is not None:
        raise ChangePending(pending)
    if row.stripe_subscription_id is None or row.status == INCOMPLETE:
        raise SubscriptionNotConfirmed()


def _changes(row: Subscription, wish: Update) -> dict[str, Any]:
    """What of the wish is not so already. Renewing also takes back a cancellation."""
    wanted = {name: value for name, value in asdict(wish).items() if value is not None and name != "proration_behavior"}
    changes = {name: value for name, value in wanted.items() if getattr(row, name) != value}
    if wish.auto_renew and row.cancel_at is not None:
        changes["auto_renew"] = True
    return changes


def _seats(tenant_id: UUID, plan: Plan, asked: int | None) -> int:
    """One rule everywhere: as many as asked for, otherwise those that the plan includes. SeatsNotSold, SeatsBelowMembers."""
    seats, members = plans.seats(plan, asked), seating.members_of(tenant_id)
    if seats < members:
        raise SeatsBelowMembers(seats, members)
    return seats


def _cap_seats(tenant_id: UUID, seats: int) -> None:
    """Seats that are to go are not given to new members any more; further ones count once Stripe has confirmed them."""
    Tenant.update(seats=fn.least(Tenant.seats, seats)).where(Tenant.id == tenant_id).execute()


# ---------------------------------------------------------------- what is ordered


def _order(tenant_id: UUID, wish: Start) -> dict[str, Any]:
    """All that the worker needs, so that a repeated job asks for exactly the same. Raises PlanNotFound, PlanNotSold, PlanNotPriced, SeatsNotSold."""
    plan = Plan.to_sell(wish.plan_code)
    seats = _seats(tenant_id, plan, wish.seat_count)
    trial_days = _trial_days(tenant_id, plan, wish.longest_trial)
    lines = _lines(plan, seats)
    order = asdict(wish) | lines | {"trial_days": trial_days, "is_payable": not (lines["is_free"] or trial_days)}
    del order["longest_trial"]
    return order


def _lines(plan: Plan, seats: int) -> dict[str, Any]:
    return {
        "plan_code": plan.code,
        "seat_count": seats,
        "items": plans.stripe_items(plan, seats),
        "is_free": not _due(plan, seats),
    }


def _lines_of_change(row: Subscription, wish: Update, changes: dict[str, Any]) -> dict[str, Any]:
    """What a change of the plan or the seats is about. Seats alone keep their price, so only their number is asked for."""
    if not {"plan_code", "seat_count"} & changes.keys():
        return {}
    plan = Plan.by_code(row.plan_code) if wish.plan_code in (None, row.plan_code) else Plan.to_sell(wish.plan_code)
    seats = _seats(row.tenant_id, plan, wish.seat_count or (row.seat_count if plan.code == row.plan_code else None))
    lines = _lines(plan, seats) | {"proration_behavior": wish.proration_behavior}
    lines["is_payable"] = not (lines["is_free"] or _due(Plan.by_code(row.plan_code), row.seat_count))
    if "plan_code" not in changes:
        del lines["items"]
    return lines


def _due(plan: Plan, seats: int | None) -> int:
    """What an interval costs in advance, in the currency's smallest unit."""
    further = max(0, (seats or 0) - plan.seats_included) if plan.seats_included else 0
    return plan.price_cents + further * (plan.extra_seat_cents or 0)


def _trial_days(tenant_id: UUID, plan: Plan, longest: int | None) -> int:
    """The one rule of trials: those of the plan, once per tenant."""
    if has_used_trial(tenant_id):
        return 0
    return plan.trial_days if longest is None else min(longest, plan.trial_days)


def _write_row(tenant_id: UUID, request: dict[str, Any], status: str) -> None:
    """The row of a subscription that Stripe has not made yet. It takes the place of one that has ended."""
    trial = request["trial_days"] and status == TRIALING
    columns = {
        "plan_code": request["plan_code"],
        "status": status,
        "auto_renew": request["auto_renew"],
        "billing_email": request["billing_email"],
        "seat_count": request["seat_count"],
        "starts_at": now(),
        "trial_ends_at": now() + timedelta(days=request["trial_days"]) if trial else None,
        "updated_at": now(),
        **dict.fromkeys(
            (
                "current_period_start",
                "current_period_end",
                "counts_from",
                "cancel_at",
                "ended_at",
                "past_due_since",
                "stripe_subscription_id",
            )
        ),
        "metadata": {},
    }
    if Subscription.insert_if_new(tenant_id=tenant_id, **columns) is None:
        Subscription.update(columns).where(Subscription.tenant_id == tenant_id).execute()
