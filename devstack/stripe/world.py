"""The account during one request or one step of time: its objects, its time, and the events that tell of changes."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

from devstack.stripe import columns
from devstack.stripe.errors import no_such
from devstack.stripe.form import Params
from devstack.stripe.shapes import API_VERSION, NAMES, Object, changed, outside
from devstack.stripe.store import Store, new_id

_BOUNDS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


class World:
    """Use it inside a transaction of the store.

    url      where clients reach the stand-in, for the addresses of its pages
    request  {"id", "idempotency_key"} of the request, both None when time causes the changes
    """

    def __init__(self, store: Store, url: str, request: Object | None = None) -> None:
        self.store, self.url = store, url
        self.request = request or {"id": None, "idempotency_key": None}

    def now(self, clock: str | None = None) -> int:
        """Unix time, by a test clock or, without one, by the account's own clock, which `advance` moves on."""
        if clock:
            return int(self.get("test_helpers.test_clock", clock)["frozen_time"])
        return int(time.time() + self.store.setting("offset", 0))

    def get(self, kind: str, id_: str, param: str | None = "id") -> Object:
        """The object with this id. ApiError if there is none; `param` is the parameter that names it."""
        item = self.store.get(id_)
        if item is None or item["object"] != kind or item.get("deleted"):
            raise no_such(NAMES.get(kind, kind), id_, param)
        return item

    def listing(
        self, params: Params, kind: str, *, customer: str | None = None, tags: Sequence[str] | None = None
    ) -> Iterator[Object]:
        """The objects of a kind for a list, from its cursor on. With ending_before it goes backwards."""
        before = params.text("ending_before")
        cursor = before or params.text("starting_after")
        if cursor and self.store.get(cursor) is None:
            raise no_such(NAMES.get(kind, kind), cursor, "ending_before" if before else "starting_after")
        if isinstance(params.form.get("created"), str):
            bounds = {"=": params.number("created")}
        else:
            bounds = {sign: params.below("created").number(name) for name, sign in _BOUNDS.items()}
        return self.store.find(
            kind,
            customer=customer,
            tags=tags,
            created={sign: bound for sign, bound in bounds.items() if bound is not None},
            beyond=cursor,
            oldest_first=before is not None,
        )

    def put(self, item: Object) -> None:
        """Write an object without telling anyone."""
        customer = item.get("customer")
        self.store.put(item, customer, columns.tag(item), columns.due(item))

    def add(self, item: Object, event: str | None = None) -> Object:
        """Write a new object; `event` is the type of the event that tells of it."""
        self.put(item)
        if event:
            self.record(event, item)
        return item

    def save(self, item: Object, event: str | None = None) -> Object:
        """Write a changed object. If nothing visible has changed, there is no event."""
        before = self.store.get(item["id"])
        previous = changed(self.shown(before), self.shown(item)) if before and event else None
        self.put(item)
        if event and previous:
            self.record(event, item, previous)
        return item

    def delete(self, item: Object, event: str) -> Object:
        """Delete an object; return what its id answers from now on."""
        self.record(event, item)
        stub = {"id": item["id"], "object": item["object"], "deleted": True}
        self.put(stub)
        return stub

    def record(self, type_: str, item: Object, previous: Object | None = None) -> None:
        """Write an event, and a delivery for every endpoint that wants it."""
        data: Object = {"object": self.shown(item)}
        if previous:
            data["previous_attributes"] = previous
        endpoints = self.endpoints_for(type_)
        event: Object = {
            "id": new_id("evt_1"),
            "object": "event",
            "api_version": API_VERSION,
            "created": self.now(item.get("test_clock")),
            "data": data,
            "livemode": False,
            "pending_webhooks": len(endpoints),
            "request": self.request,
            "type": type_,
        }
        self.put(event)
        self.deliver(event["id"], endpoints)

    def endpoints_for(self, type_: str) -> list[str]:
        """The ids of the endpoints that want events of this type."""
        return [
            endpoint["id"]
            for endpoint in self.store.find("webhook_endpoint", oldest_first=True)
            if endpoint["status"] == "enabled" and {"*", type_} & set(endpoint["enabled_events"])
        ]

    def deliver(self, event: str, endpoints: list[str]) -> None:
        """Have an event sent to these endpoints."""
        rows = [(event, endpoint, time.time()) for endpoint in endpoints]
        self.store.db.executemany("insert into delivery (event, endpoint, due) values (?, ?, ?)", rows)

    def shown(self, item: Object) -> Object:
        """An object as the API shows it: subscriptions with their prices instead of the prices' ids."""
        if item["object"] == "subscription" and not item.get("deleted"):
            rows = [self.shown(row) for row in item["items"]["data"]]
            return outside(item) | {"items": item["items"] | {"data": rows}}
        if item["object"] == "subscription_item":
            price = self.price(item["price"])
            return outside(item) | {"price": price, "plan": plan_of(price)}
        return outside(item)

    def price(self, id_: str) -> Object:
        """A price as it is shown inside other objects."""
        price = self.get("price", id_)
        return {name: value for name, value in outside(price).items() if name != "tiers"}


def plan_of(price: Object) -> Object:
    """The price in the older form that subscription items still show beside it."""
    recurring: dict[str, Any] = price["recurring"]
    return {
        "id": price["id"],
        "object": "plan",
        "active": price["active"],
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "billing_scheme": price["billing_scheme"],
        "created": price["created"],
        "currency": price["currency"],
        "interval": recurring["interval"],
        "interval_count": recurring["interval_count"],
        "livemode": False,
        "metadata": price["metadata"],
        "meter": recurring["meter"],
        "nickname": price["nickname"],
        "product": price["product"],
        "tiers_mode": price["tiers_mode"],
        "transform_usage": None,
        "trial_period_days": None,
        "usage_type": recurring["usage_type"],
    }
