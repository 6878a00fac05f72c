"""Meters, the usage that they are told, and its sums."""

import time
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation

from devstack.stripe.errors import invalid, malformed, missing
from devstack.stripe.form import Params
from devstack.stripe.shapes import DAY, HOUR, Object
from devstack.stripe.store import new_id
from devstack.stripe.world import World

_OLDEST, _AHEAD = 35 * DAY, 300  # how far the time of an event may be from now, in seconds
_CANCELABLE = DAY
_WINDOWS = {None: 60, "hour": HOUR, "day": DAY}


def create(world: World, params: Params) -> Object:
    name = params.required("event_name")
    if any(meter["status"] == "active" for meter in world.store.find("billing.meter", tags=[name])):
        raise invalid(
            f"There is already an active meter with the event name `{name}`.", "event_name", "resource_already_exists"
        )
    formula = params.below("default_aggregation").choice("formula", "count last sum")
    if formula is None:
        raise missing("default_aggregation[formula]")
    mapping, value = params.below("customer_mapping"), params.below("value_settings")
    now = world.now()
    meter = {
        "id": new_id("mtr_test_6"),
        "object": "billing.meter",
        "created": now,
        "customer_mapping": {
            "event_payload_key": mapping.text("event_payload_key", "stripe_customer_id"),
            "type": mapping.choice("type", "by_id", "by_id"),
        },
        "default_aggregation": {"formula": formula},
        "display_name": params.required("display_name"),
        "event_name": name,
        "event_time_window": params.choice("event_time_window", "day hour"),
        "livemode": False,
        "status": "active",
        "status_transitions": {"deactivated_at": None},
        "updated": now,
        "value_settings": {"event_payload_key": value.text("event_payload_key", "value")},
    }
    return world.add(meter, "billing.meter.created")


def retrieve(world: World, params: Params, id_: str) -> Object:
    return world.get("billing.meter", id_)


def update(world: World, params: Params, id_: str) -> Object:
    meter = world.get("billing.meter", id_)
    meter["display_name"], meter["updated"] = params.text("display_name", meter["display_name"]), world.now()
    return world.save(meter, "billing.meter.updated")


def deactivate(world: World, params: Params, id_: str) -> Object:
    meter = world.get("billing.meter", id_)
    if meter["status"] == "inactive":
        raise invalid("You cannot deactivate an inactive meter.", "id")
    meter |= {"status": "inactive", "status_transitions": {"deactivated_at": world.now()}, "updated": world.now()}
    return world.save(meter, "billing.meter.deactivated")


def reactivate(world: World, params: Params, id_: str) -> Object:
    meter = world.get("billing.meter", id_)
    meter |= {"status": "active", "status_transitions": {"deactivated_at": None}, "updated": world.now()}
    return world.save(meter, "billing.meter.reactivated")


def meters(world: World, params: Params) -> Iterator[Object]:
    status = params.choice("status", "active inactive")
    return (meter for meter in world.listing(params, "billing.meter") if status in (None, meter["status"]))


def record(world: World, params: Params) -> Object:
    """POST /v1/billing/meter_events: an identifier that was used before is refused, whatever else the event says."""
    name, payload = params.required("event_name"), params.below("payload")
    meter = _active(world, name)
    customer = world.get("customer", payload.required(meter["customer_mapping"]["event_payload_key"]), "payload")
    value = _value(meter, payload)
    now = world.now(customer["test_clock"])
    at = params.number("timestamp", now)
    # The account's time may have been moved ahead, but who reports use has a clock of its own.
    if at < (now if customer["test_clock"] else min(now, time.time())) - _OLDEST:
        raise invalid(
            "The timestamp must be within the past 35 calendar days.", "timestamp", "timestamp_too_far_in_past"
        )
    if at > now + _AHEAD:
        raise invalid("The timestamp must be within the next 5 minutes.", "timestamp", "timestamp_in_future")
    identifier = params.text("identifier", longest=100) or new_id("")
    if world.store.rows("select 1 from meter_event where identifier = ?", (identifier,)):
        raise invalid(f"An event already exists with identifier {identifier}.", "identifier")
    world.store.db.execute(
        "insert into meter_event (identifier, name, customer, at, value, received) values (?, ?, ?, ?, ?, ?)",
        (identifier, name, customer["id"], at, str(value), world.now()),
    )
    return {
        "object": "billing.meter_event",
        "created": now,
        "event_name": name,
        "identifier": identifier,
        "livemode": False,
        "payload": dict(payload.form),
        "timestamp": at,
    }


def _active(world: World, name: str) -> Object:
    for meter in world.store.find("billing.meter", tags=[name]):
        if meter["status"] == "active":
            return meter
    raise invalid(f"No active meter found for event name {name}.", "event_name")


def _value(meter: Object, payload: Params) -> Decimal:
    if meter["default_aggregation"]["formula"] == "count":
        return Decimal(1)
    key = meter["value_settings"]["event_payload_key"]
    text = payload.required(key)
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite():
        raise invalid(f"Invalid payload value: {text}. It must be a number.", f"payload[{key}]")
    return value


def cancel_event(world: World, params: Params) -> Object:
    """POST /v1/billing/meter_event_adjustments: an event of the last 24 hours no longer counts."""
    name, identifier = params.required("event_name"), params.below("cancel").required("identifier")
    if params.choice("type", "cancel") is None:
        raise missing("type")
    rows = world.store.rows("select name, received from meter_event where identifier = ?", (identifier,))
    if not rows or rows[0][0] != name:
        raise invalid(f"No meter event found with identifier {identifier}.", "cancel[identifier]", "resource_missing")
    if rows[0][1] < world.now() - _CANCELABLE:
        raise invalid("Events can only be canceled within 24 hours of receiving them.", "cancel[identifier]")
    world.store.db.execute("update meter_event set canceled = 1 where identifier = ?", (identifier,))
    return {
        "object": "billing.meter_event_adjustment",
        "cancel": {"identifier": identifier},
        "event_name": name,
        "livemode": False,
        "status": "pending",
        "type": "cancel",
    }


def usage(world: World, meter: Object, customer: str, start: int, end: int) -> Decimal:
    """What a customer used from `start` up to but not at `end`, by the meter's formula."""
    rows = world.store.rows(
        "select value from meter_event where name = ? and customer = ? and at >= ? and at < ? and not canceled"
        " order by at, received, identifier",
        (meter["event_name"], customer, start, end),
    )
    values = [Decimal(value) for (value,) in rows]
    if meter["default_aggregation"]["formula"] == "last":
        return values[-1] if values else Decimal(0)
    return sum(values, Decimal(0))


def summaries(world: World, params: Params, id_: str) -> Iterator[Object]:
    """GET /v1/billing/meters/{id}/event_summaries: one for the whole time, or one for every hour or day, newest first."""
    meter = world.get("billing.meter", id_)
    customer = params.required("customer")
    window = params.choice("value_grouping_window", "day hour")
    bounds = [params.number(name) for name in ("start_time", "end_time")]
    for name, bound in zip(("start_time", "end_time"), bounds, strict=True):
        if bound is None:
            raise missing(name)
        if bound % _WINDOWS[window]:
            raise malformed(f"{name} must be aligned with {window or 'minute'} boundaries.", name)
    start, end = (int(bound) for bound in bounds if bound is not None)
    step = _WINDOWS[window] if window else max(end - start, 1)
    for since in range(start, end, step)[::-1]:
        total = usage(world, meter, customer, since, min(since + step, end))
        if total or not window:
            yield {
                "id": f"mtrusg_test_{id_[-8:]}_{since}",
                "object": "billing.meter_event_summary",
                "aggregated_value": float(total),
                "end_time": min(since + step, end),
                "livemode": False,
                "meter": id_,
                "start_time": since,
            }
