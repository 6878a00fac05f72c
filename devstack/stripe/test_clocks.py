"""Test clocks: customers with a time of their own, which the API moves on."""

from collections.abc import Iterator

from devstack.stripe.errors import ApiError, invalid, missing
from devstack.stripe.form import Params
from devstack.stripe.shapes import DAY, Object
from devstack.stripe.store import new_id
from devstack.stripe.world import World

_KIND = "test_helpers.test_clock"
LIFETIME = 30 * DAY


def create(world: World, params: Params) -> Object:
    frozen = params.number("frozen_time")
    if frozen is None:
        raise missing("frozen_time")
    clock = {
        "id": new_id("clock_1"),
        "object": _KIND,
        "created": world.now(),
        "deletes_after": world.now() + LIFETIME,
        "frozen_time": frozen,
        "livemode": False,
        "name": params.text("name", longest=300),
        "status": "ready",
        "status_details": {},
    }
    return world.add(clock, f"{_KIND}.created")


def retrieve(world: World, params: Params, id_: str) -> Object:
    return world.get(_KIND, id_)


def clocks(world: World, params: Params) -> Iterator[Object]:
    return world.listing(params, _KIND)


def advance(world: World, params: Params, id_: str) -> Object:
    """Answer at once; `time.Mover` then does what falls into that time."""
    clock, target = world.get(_KIND, id_), params.number("frozen_time")
    if target is None:
        raise missing("frozen_time")
    if clock["status"] == "advancing":
        raise ApiError(
            429,
            "Test clock advancement underway - cannot perform modifications.",
            code="test_clock_advancing",
            stored=False,
        )
    if target <= clock["frozen_time"]:
        raise invalid("The new frozen time must be after the current frozen time.", "frozen_time")
    clock |= {"status": "advancing", "status_details": {"advancing": {"target_frozen_time": target}}}
    world.put(clock)
    world.record(f"{_KIND}.advancing", clock)
    return clock


def finish(world: World, id_: str) -> None:
    """The clock has reached its target."""
    clock = world.get(_KIND, id_)
    clock |= {
        "frozen_time": clock["status_details"]["advancing"]["target_frozen_time"],
        "status": "ready",
        "status_details": {},
    }
    world.put(clock)
    world.record(f"{_KIND}.ready", clock)


def delete(world: World, params: Params, id_: str) -> Object:
    """With its customers and their subscriptions, of which no event tells."""
    clock = world.get(_KIND, id_)
    for (owned,) in world.store.rows("select id from object where clock = ? and gone = 0", (id_,)):
        item = world.store.get(owned) or {}
        if item["object"] in ("customer", "subscription"):
            world.put({"id": owned, "object": item["object"], "deleted": True})
    world.store.db.execute("update object set due = null where clock = ?", (id_,))
    return world.delete(clock, f"{_KIND}.deleted")
