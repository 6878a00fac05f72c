"""What Stripe says of subscriptions and customers: every object is mirrored, and the tenant's row is derived from the mirrors.

The row is a function of the mirrors, and a mirror only gives way to what is newer. So the same events lead to the same rows,
in whatever order and however often they come. Webhooks, answers of the API and the reconciliation all go through here.
"""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from peewee import EXCLUDED, fn

from models.auth.tenants import Tenant
from models.billing import normal_form
from models.billing.normal_form import Prices
from models.billing.operations import UPDATE, BillingOperation
from models.billing.stripe_order import ANSWER, DELETED, Order, time_of, time_or_none
from models.billing.stripe_prices import known_prices
from models.billing.stripe_tenants import NotYet, Object, id_of, tenant_of
from models.billing.subscription import (
    ACTIVE,
    ENDED,
    INCOMPLETE,
    INCOMPLETE_EXPIRED,
    PAST_DUE,
    PAUSED,
    TRIALING,
    UNPAID,
    Subscription,
)
from models.platform import locks
from models.platform.database import Json, database, in_transaction
from models.platform.json import storable

# Which of a tenant's subscriptions counts: one in use before one that waits for money before one that never began or ended.
STANDING = {TRIALING: 3, ACTIVE: 3, PAST_DUE: 3, UNPAID: 2, PAUSED: 2, INCOMPLETE: 1}
NEVER_PAID = (INCOMPLETE, INCOMPLETE_EXPIRED)  # these give no plan
KNOWN = "select tenant_id, as_of, event_id, object from stripe_subscription where stripe_subscription_id = %(id)s"
DISPUTED = """
select 1 from stripe_subscription
where stripe_subscription_id = %(id)s and as_of = %(at)s and rank > %(rank)s and object <> %(object)s"""
MIRROR = """
insert into stripe_subscription as known
    (stripe_subscription_id, tenant_id, started_at, is_live, object, as_of, rank, event_id)
values (%(id)s, %(tenant_id)s, %(started_at)s, %(is_live)s, %(object)s, %(as_of)s, %(rank)s, %(event_id)s)
on conflict (stripe_subscription_id) do update set started_at = excluded.started_at, is_live = excluded.is_live,
    object = excluded.object, as_of = excluded.as_of, rank = excluded.rank, event_id = excluded.event_id
where (known.as_of, known.rank, known.event_id collate "C") < (excluded.as_of, excluded.rank, excluded.event_id)
returning 1"""
MIRRORS = "select object, as_of from stripe_subscription where tenant_id = %(tenant_id)s"
# Since when the newest events of a subscription have all said past_due.
PAST_DUE_SINCE = """
select min(occurred_at) from (
    select occurred_at, sum((payload #>> '{data,object,status}' <> 'past_due')::int) over (
        order by occurred_at desc,
            case when type like '%%.created' then 1 when type like '%%.deleted' then 3 else 2 end desc,
            external_id collate "C" desc
    ) as others
    from inbox_event where object_id = %(id)s and source = 'stripe' and type like 'customer.subscription.%%'
) as told where others = 0"""
PLANS = "select code, seats_included, price_cents = 0 from plan"
EMAIL = "select email from billing_customer where tenant_id = %(tenant_id)s"
USE_TRIAL = """
insert into billing_customer (tenant_id, trial_used_at) values (%(tenant_id)s, %(at)s)
on conflict (tenant_id) do update set trial_used_at = least(billing_customer.trial_used_at, excluded.trial_used_at)"""
CUSTOMER = """
insert into billing_customer as known (tenant_id, stripe_customer_id, email, as_of, rank, event_id)
values (%(tenant_id)s, %(customer)s, %(email)s, %(as_of)s, %(rank)s, %(event_id)s)
on conflict (tenant_id) do update set email = excluded.email, as_of = excluded.as_of, rank = excluded.rank,
    event_id = excluded.event_id, stripe_customer_id = excluded.stripe_customer_id
where coalesce(known.stripe_customer_id, %(id)s) = %(id)s and (known.as_of is null
    or (known.as_of, known.rank, known.event_id collate "C") < (excluded.as_of, excluded.rank, excluded.event_id))
returning 1"""


class UnknownPlan(NotYet):
    code = "plan_unknown"


class WrongTenant(NotYet):
    """Stripe now names another tenant than before. A person has to look."""

    code = "wrong_tenant"


class Applied(NamedTuple):
    """`before`: the tenant's row as it was, None if there was none. `is_news`: nothing newer was known of this object.

    `is_tied`: Stripe has said something else in the same second, so what is newer is a guess: read the object from Stripe.
    """

    tenant_id: UUID
    subscription: Subscription
    before: Subscription | None
    is_news: bool
    is_tied: bool


class Catalogue(NamedTuple):
    """`seats`: plan code -> the seats that it includes. `free`: the codes of plans that cost nothing."""

    prices: Prices
    seats: dict[str, int | None]
    free: frozenset[str]

    @classmethod
    def read(cls) -> "Catalogue":
        rows = database.execute_prepared(PLANS, {}).fetchall()
        seats = {code: included for code, included, _ in rows}
        return cls(known_prices(), seats, frozenset(code for code, _, is_free in rows if is_free))

    def plan_of(self, thing: Object) -> str:
        """The code of a subscription's plan. UnknownPlan."""
        code = normal_form.plan_code(thing, self.prices)
        if code not in self.seats:
            raise UnknownPlan(f"Subscription {thing['id']} is of the plan {code!r}, which we do not have.")
        return code


class Mirrored(NamedTuple):
    object: dict[str, Any]
    as_of: Any

    @property
    def status(self) -> str:
        return str(self.object["status"])

    @property
    def standing(self) -> tuple[int, int, str]:
        return STANDING.get(self.status, 0), self.object["start_date"], self.object["id"]


@in_transaction
def apply_subscription(thing: Object, order: Order, tenant_id: UUID | None = None) -> Applied:
    """Take over what Stripe says of a subscription, if it is news, and derive the tenant's row again.

    `tenant_id`: whose it is, if the caller knows. TenantUnknown, UnknownPlan, WrongTenant.
    """
    tenant_id = tenant_id or tenant_of(thing)
    locks.lock("billing", tenant_id)  # or two subscriptions of one tenant would not see each other
    known = database.execute_prepared(KNOWN, {"id": thing["id"]}).fetchone()
    if known and known[0] != tenant_id:
        raise WrongTenant(f"Subscription {thing['id']} is of tenant {known[0]}, but Stripe now says {tenant_id}.")
    catalogue = Catalogue.read()
    catalogue.plan_of(thing)  # or it would be in the way of the tenant's others
    values = {
        "id": thing["id"],
        "tenant_id": tenant_id,
        "started_at": time_of(thing["start_date"]),
        "is_live": thing["status"] not in ENDED,
        "object": Json(thing, dumps=storable),
    }
    is_news = bool(database.execute_prepared(MIRROR, {**values, **order._asdict()}).fetchone())
    is_tied = bool(known and known[1] == order.as_of and known[2] != order.event_id and known[3] != thing)
    before = Subscription.of_tenant(tenant_id)
    subscription = _derive(tenant_id, catalogue)
    if subscription is None:
        raise AssertionError("A tenant with a mirror has a row.")
    return Applied(tenant_id, subscription, before, is_news, is_tied)


def is_disputed(thing: Object, at: datetime) -> bool:
    """Whether an event of the second in which Stripe's API has answered this says something else, and would prevail."""
    values = {"id": thing["id"], "at": at, "rank": ANSWER, "object": Json(thing, dumps=storable)}
    return bool(database.execute_prepared(DISPUTED, values).fetchone())


@in_transaction
def derive(tenant_id: UUID) -> Subscription | None:
    """Write the tenant's row, its plan and its seats, as all that Stripe has said of its subscriptions has it.

    Without any the row is left as it is.
    """
    locks.lock("billing", tenant_id)
    return _derive(tenant_id, Catalogue.read())


def _derive(tenant_id: UUID, catalogue: Catalogue) -> Subscription | None:
    rows = database.execute_prepared(MIRRORS, {"tenant_id": tenant_id}).fetchall()
    mirrors = sorted(map(Mirrored._make, rows), key=lambda mirrored: mirrored.standing)
    if mirrors:
        _write_row(tenant_id, mirrors[-1], catalogue, _counts_from(mirrors, catalogue))
        if paid := [mirrored for mirrored in mirrors if mirrored.status not in NEVER_PAID]:
            columns = _columns(paid[-1].object, catalogue)
            plan_and_seats = {"plan": columns["plan_code"], "seats": _seats(tenant_id, columns["seat_count"])}
            Tenant.update(**plan_and_seats).where(Tenant.id == tenant_id).execute()
        trials = [begin for mirrored in mirrors if (begin := mirrored.object.get("trial_start"))]
        if trials:
            database.execute_prepared(USE_TRIAL, {"tenant_id": tenant_id, "at": time_of(min(trials))})
    return Subscription.of_tenant(tenant_id)


def _seats(tenant_id: UUID, paid: int | None) -> int | None:
    """How many members there may be. Seats that an open change takes away are not given to anybody meanwhile."""
    pending = BillingOperation.open_change(tenant_id)
    asked = pending.request.get("seat_count") if pending and pending.kind == UPDATE else None
    return asked if asked is not None and (paid is None or asked < paid) else paid


@in_transaction
def apply_customer(thing: Object, order: Order, tenant_id: UUID | None = None) -> UUID:
    """Take over what Stripe says of a customer, if it is news: its address, and that it is gone. Returns the tenant.

    A tenant has one customer: what is said of another one changes nothing. TenantUnknown.
    """
    tenant_id = tenant_id or tenant_of(thing)
    locks.lock("billing", tenant_id)
    email, is_gone = thing.get("email"), bool(thing.get("deleted")) or order.rank == DELETED
    values = {"tenant_id": tenant_id, "id": thing["id"], "customer": None if is_gone else thing["id"], "email": email}
    is_news = database.execute_prepared(CUSTOMER, {**values, **order._asdict()}).fetchone()
    if is_news:
        Subscription.update(billing_email=email).where(Subscription.tenant_id == tenant_id).execute()
    return tenant_id


def _counts_from(mirrors: list[Mirrored], catalogue: Catalogue) -> datetime | None:
    """Who ends a free plan and starts it again has used what they have used: it counts from the start of the period that
    would be running still. None: from the start of the period."""
    free = [each.object for each in mirrors if normal_form.plan_code(each.object, catalogue.prices) in catalogue.free]
    if not free or free[-1] is not mirrors[-1].object:
        return None
    items = [normal_form.seat_item(thing, catalogue.prices) for thing in free]
    periods = [(item.get("current_period_start") or 0, item.get("current_period_end") or 0) for item in items]
    begin = periods[-1][0]
    earlier = [start for start, end in periods if start < begin < end]
    return time_of(min(earlier)) if earlier else None


def _write_row(tenant_id: UUID, mirrored: Mirrored, catalogue: Catalogue, counts_from: datetime | None) -> None:
    columns = _columns(mirrored.object, catalogue) | {"counts_from": counts_from}
    columns |= {"past_due_since": _past_due_since(tenant_id, mirrored), "updated_at": mirrored.as_of}
    customer = mirrored.object.get("customer")
    email = customer.get("email") if isinstance(customer, dict) else None
    known = fn.coalesce(EXCLUDED.billing_email, Subscription.billing_email)
    Subscription.insert(tenant_id=tenant_id, billing_email=email or _email(tenant_id), **columns).on_conflict(
        conflict_target=[Subscription.tenant_id], preserve=list(columns), update={"billing_email": known}
    ).execute()


def _email(tenant_id: UUID) -> str | None:
    """What we know of its customer, which a subscription does not say."""
    row = database.execute_prepared(EMAIL, {"tenant_id": tenant_id}).fetchone()
    return str(row[0]) if row and row[0] else None


def _columns(thing: Object, catalogue: Catalogue) -> dict[str, Any]:
    item, plan_code = normal_form.seat_item(thing, catalogue.prices), catalogue.plan_of(thing)
    period_end, ended_at = time_or_none(item.get("current_period_end")), time_or_none(thing.get("ended_at"))
    has_ended, cancel_at = thing["status"] in ENDED, time_or_none(thing.get("cancel_at"))
    if cancel_at is None:
        cancel_at = ended_at if has_ended else period_end if thing.get("cancel_at_period_end") else None
    metadata = {
        "stripe_price_id": id_of(item.get("price")),
        "stripe_subscription_item_id": item.get("id"),
        "stripe_status": thing["status"],
    }
    return {
        "plan_code": plan_code,
        "status": thing["status"],
        "auto_renew": not (has_ended or thing.get("cancel_at_period_end")),
        "seat_count": item.get("quantity") or catalogue.seats[plan_code],
        "starts_at": time_of(thing["start_date"]),
        "current_period_start": time_or_none(item.get("current_period_start")),
        "current_period_end": period_end,
        "trial_ends_at": time_or_none(thing.get("trial_end")),
        "cancel_at": cancel_at,
        "ended_at": ended_at,
        "stripe_subscription_id": thing["id"],
        "metadata": {name: value for name, value in metadata.items() if value},
    }


def _past_due_since(tenant_id: UUID, mirrored: Mirrored) -> Any:
    """When the grace began: with the first event that said so without another in between.

    Without any event, such as while none are delivered: when Stripe first answered so. Later answers do not prolong it.
    """
    if mirrored.status != PAST_DUE:
        return None
    if found := database.execute_prepared(PAST_DUE_SINCE, {"id": mirrored.object["id"]}).fetchone()[0]:
        return found
    row = Subscription.of_tenant(tenant_id)
    is_same = row is not None and row.stripe_subscription_id == mirrored.object["id"]
    return (row.past_due_since if row and is_same else None) or mirrored.as_of
