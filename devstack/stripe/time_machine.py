"""Moves time on: what falls into it happens one after the other, each at its own time."""

import time

import gevent

from devstack.stripe import checkout, invoices, payments, renewal, test_clocks
from devstack.stripe.errors import ApiError
from devstack.stripe.shapes import Object
from devstack.stripe.store import Store
from devstack.stripe.world import World

_TICK = 0.5  # seconds between looks at what is due
_KIND = "test_helpers.test_clock"


class TimeMachine:
    """The account's own time and that of its test clocks."""

    def __init__(self, store: Store, url: str) -> None:
        self.store, self.url = store, url
        self.moving = False

    def run(self) -> None:
        """For ever: do what is due, and go on with test clocks that were moving when the process ended."""
        for clock in list(self.store.find(_KIND)):
            if clock["status"] == "advancing":
                self.start(clock["id"])
        while True:
            if not self.moving:
                self._until("", self._world().now())
            gevent.sleep(_TICK)

    def _world(self) -> World:
        return World(self.store, self.url)

    def start(self, clock: str) -> None:
        """Move a test clock to its target, in the background."""
        gevent.spawn(self._move, clock)

    def _move(self, clock: str) -> None:
        target = (self.store.get(clock) or {})["status_details"]["advancing"]["target_frozen_time"]
        self._until(clock, target)
        with self.store.transaction():
            test_clocks.finish(self._world(), clock)

    def advance(self, target: int) -> None:
        """Move the account's own time to `target`, and return when all of it has happened."""
        self.moving = True
        try:
            self._until("", target)
            with self.store.transaction():
                self._set("", target)
        finally:
            self.moving = False

    def _until(self, clock: str, target: int) -> None:
        while (found := self.store.next_due(clock, target)) is not None:
            item, due = found
            with self.store.transaction():
                self._set(clock, due)
                self._step(item)
            gevent.sleep(0)  # let requests and webhooks in between

    def _set(self, clock: str, now: int) -> None:
        """Set a clock, forwards only."""
        world = self._world()
        if now <= world.now(clock or None):
            return
        if clock:
            frozen = world.get(_KIND, clock)
            frozen["frozen_time"] = now
            world.put(frozen)
        else:  # a little more, so that rounding never gives the second before
            self.store.set("offset", now - time.time() + 0.001)

    def _step(self, item: Object) -> None:
        world = self._world()
        if item["object"] == "subscription":
            renewal.step(world, item)
        elif item["object"] == "checkout.session":
            checkout.expire_one(world, item)
        elif item["status"] == "draft":
            collect(world, invoices.finalize(world, item))
        else:
            collect(world, item)


def collect(world: World, invoice: Object) -> None:
    """Try to collect an invoice whose time has come. What a refusal means is in the subscription's status by then."""
    if invoice["status"] != "open":
        return
    invoice["next_payment_attempt"] = None
    world.put(invoice)
    try:
        payments.collect(world, invoice)
    except ApiError as error:
        if error.status == 402:
            return
        if error.code != "resource_missing":
            raise
        payments.fail_without_method(world, invoice)
