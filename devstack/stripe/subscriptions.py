"""Subscriptions: starting, reading and listing them."""

from collections.abc import Iterator

from devstack.stripe import discounts, invoices, items, lists, payment_methods, payments
from devstack.stripe.columns import TRIAL_NOTICE
from devstack.stripe.errors import ApiError, invalid, malformed
from devstack.stripe.form import Params
from devstack.stripe.shapes import DAY, Object, listed, nulls
from devstack.stripe.store import new_id
from devstack.stripe.world import World

BEHAVIOURS = "allow_incomplete default_incomplete error_if_incomplete"
PRORATIONS = "always_invoice create_prorations none"
_NULLS = (
    "application application_fee_percent billing_cycle_anchor_config billing_thresholds cancel_at canceled_at customer_account"
    " days_until_due default_payment_method default_source description ended_at latest_invoice"
    " next_pending_invoice_item_invoice on_behalf_of pause_collection pending_invoice_item_interval pending_setup_intent"
    " pending_update schedule transfer_data trial_end trial_start"
)
CREATE_FIELDS = (
    "customer items metadata description default_payment_method payment_behavior payment_settings off_session"
    " trial_period_days trial_end trial_settings cancel_at_period_end cancel_at discounts collection_method"
)
_ENDED = ("canceled", "incomplete_expired")


def create(world: World, params: Params) -> Object:
    customer = world.get("customer", params.required("customer"), "customer")
    now = world.now(customer["test_clock"])
    behaviour = params.choice("payment_behavior", BEHAVIOURS, "allow_incomplete")
    subscription = _shell(customer, now)
    read_settings(world, subscription, params, customer)
    rows = items.read(world, params, subscription["id"], now)
    subscription["currency"] = world.get("price", rows[0]["price"])["currency"]
    subscription["items"] = listed(rows, f"/v1/subscription_items?subscription={subscription['id']}") | {
        "total_count": len(rows)
    }
    subscription["discounts"] = discounts.redeem(world, params.rows("discounts"), customer, subscription["id"], now)
    _begin(world, subscription, _trial_end(params, now))
    set_end(subscription, params, now)
    return start(world, subscription, str(behaviour), on_session=not params.flag("off_session"))


def _shell(customer: Object, now: int) -> Object:
    return {
        "id": new_id("sub_1"),
        "object": "subscription",
        **nulls(_NULLS),
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": now,
        "billing_mode": {"flexible": {"proration_discounts": "included"}, "type": "flexible"},
        "billing_schedules": [],
        "cancel_at_period_end": False,
        "cancellation_details": nulls("comment feedback reason"),
        "collection_method": "charge_automatically",
        "created": now,
        "customer": customer["id"],
        "default_tax_rates": [],
        "discounts": [],
        "invoice_settings": {"account_tax_ids": None, "issuer": {"type": "self"}},
        "livemode": False,
        "metadata": {},
        "payment_settings": nulls("payment_method_options payment_method_types")
        | {"save_default_payment_method": "off"},
        "start_date": now,
        "status": "active",
        "test_clock": customer["test_clock"],
        "trial_settings": {"end_behavior": {"missing_payment_method": "create_invoice"}},
        "_pending": [],
    }


def read_settings(world: World, subscription: Object, params: Params, customer: Object) -> None:
    """What can be set at the start and later alike."""
    subscription["metadata"] = params.metadata(subscription["metadata"])
    if "description" in params:
        subscription["description"] = params.text("description", longest=500)
    if "default_payment_method" in params:
        id_ = params.text("default_payment_method")
        if id_:
            payment_methods.of_customer(world, id_, customer, "default_payment_method")
        subscription["default_payment_method"] = id_
    settings = params.below("payment_settings")
    settings.only(("save_default_payment_method",))
    keep = subscription["payment_settings"]["save_default_payment_method"]
    subscription["payment_settings"]["save_default_payment_method"] = settings.choice(
        "save_default_payment_method", "off on_subscription", keep
    )
    params.below("trial_settings").only(("end_behavior",))
    ending = params.below("trial_settings").below("end_behavior")
    ending.only(("missing_payment_method",))
    behaviour = subscription["trial_settings"]["end_behavior"]
    behaviour["missing_payment_method"] = ending.choice(
        "missing_payment_method", "cancel create_invoice pause", behaviour["missing_payment_method"]
    )
    if params.choice("collection_method", "charge_automatically") is None and "collection_method" in params:
        raise malformed("Invalid collection_method", "collection_method")


def _trial_end(params: Params, now: int) -> int | None:
    days = params.number("trial_period_days", least=0)
    if params.text("trial_end") == "now":
        return None
    end = params.number("trial_end")
    if end is not None and days is not None:
        raise malformed("You may only specify one of these parameters: trial_end, trial_period_days.", "trial_end")
    if days:
        end = now + days * DAY
    if end is not None and end <= now:
        raise invalid("Invalid timestamp: must be an integer Unix timestamp in the future.", "trial_end")
    return end


def _begin(world: World, subscription: Object, trial_end: int | None) -> None:
    """Set the status and the first period."""
    rows, now = subscription["items"]["data"], subscription["created"]
    if trial_end is None:
        items.begin(rows, now, items.period_end(world, rows, now, now))
        return
    items.begin(rows, now, trial_end)
    subscription |= {
        "status": "trialing",
        "trial_start": now,
        "trial_end": trial_end,
        "billing_cycle_anchor": trial_end,
    }


def set_end(subscription: Object, params: Params, now: int) -> None:
    """Read cancel_at_period_end and cancel_at."""
    if "cancel_at_period_end" in params:
        wanted = params.flag("cancel_at_period_end")
        if wanted and "cancel_at" in params:
            raise malformed(
                "You may only specify one of these parameters: cancel_at, cancel_at_period_end.", "cancel_at"
            )
        subscription["cancel_at_period_end"] = wanted
        _end_at(subscription, subscription["items"]["data"][0]["current_period_end"] if wanted else None, now)
    elif "cancel_at" in params:
        end = params.number("cancel_at")
        if end is not None and end <= now:
            raise invalid("cancel_at must be in the future.", "cancel_at")
        subscription["cancel_at_period_end"] = False
        _end_at(subscription, end, now)


def _end_at(subscription: Object, time: int | None, now: int) -> None:
    subscription["cancel_at"] = time
    subscription["canceled_at"] = None if time is None else now
    subscription["cancellation_details"]["reason"] = None if time is None else "cancellation_requested"


def start(world: World, subscription: Object, behaviour: str, *, on_session: bool) -> Object:
    """Write the subscription and its first invoice, and collect that unless the caller will."""
    trial = subscription["status"] == "trialing"
    rows = subscription["items"]["data"]
    first = invoices.draft(
        world,
        subscription,
        "subscription_create",
        items.advance_lines(world, rows, trial=trial),
    )
    if first["amount_due"] and not trial:
        subscription["status"] = "incomplete"
    world.add(subscription, "customer.subscription.created")
    if trial and subscription["trial_end"] - TRIAL_NOTICE <= subscription["created"]:
        notify_of_trial_end(world, subscription)
    if first["amount_due"] and behaviour != "default_incomplete" and payments.payer(world, first) is None:
        raise payments.no_method()
    invoices.finalize(world, first)
    if first["amount_due"] and behaviour != "default_incomplete":
        collect(world, first["id"], behaviour, off_session=not on_session)
    return world.get("subscription", subscription["id"])


def collect(world: World, invoice: str, behaviour: str, *, off_session: bool) -> None:
    """Collect an invoice of a change. A refusal undoes everything with error_if_incomplete, else it shows in the status."""
    try:
        payments.collect(world, world.get("invoice", invoice), off_session=off_session)
    except ApiError as error:
        if behaviour != "error_if_incomplete" and error.status == 402:
            return
        error.keeps = False
        if error.code == "authentication_required" and not off_session:
            error.code = "subscription_payment_intent_requires_action"
        raise


def notify_of_trial_end(world: World, subscription: Object) -> None:
    subscription["_trial_notice"] = True
    world.put(subscription)
    world.record("customer.subscription.trial_will_end", subscription)


def retrieve(world: World, params: Params, id_: str) -> Object:
    return world.get("subscription", id_)


def subscriptions(world: World, params: Params) -> Iterator[Object]:
    """Without a status those that are not canceled."""
    status = params.choice(
        "status", "active all canceled ended incomplete incomplete_expired past_due paused trialing unpaid"
    )
    customer, price, clock = params.text("customer"), params.text("price"), params.text("test_clock")
    tags = _ENDED if status == "ended" else [status] if status not in (None, "all") else None
    for item in world.listing(params, "subscription", customer=customer, tags=tags):
        hidden = status is None and item["status"] == "canceled"
        elsewhere = item["test_clock"] != clock and not customer
        if (
            not hidden
            and not elsewhere
            and (price is None or any(row["price"] == price for row in item["items"]["data"]))
        ):
            yield item


def retrieve_item(world: World, params: Params, id_: str) -> Object:
    for subscription in world.store.find("subscription"):
        for row in subscription["items"]["data"]:
            if row["id"] == id_:
                return dict(row)
    raise invalid(f"No such subscription item: '{id_}'", "id", "resource_missing")


def items_of(world: World, params: Params) -> Iterator[Object]:
    id_ = params.required("subscription")
    return lists.part(params, world.get("subscription", id_, "subscription")["items"]["data"])
