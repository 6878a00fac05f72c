"""What the real service does not have: faults, time, refusals and deliveries by command. JSON under /_standin."""

import json
from collections.abc import Callable
from typing import Any

import falcon

from devstack.stripe import faults, periods, standing
from devstack.stripe.endpoints import OURS
from devstack.stripe.shapes import Object
from devstack.stripe.store import Store
from devstack.stripe.time_machine import TimeMachine
from devstack.stripe.webhooks import Sender
from devstack.stripe.world import World

# The kind of object that the events of a family are about, longest names first.
_ABOUT = {
    "customer.subscription.": "subscription",
    "checkout.session.": "checkout.session",
    "invoice_payment.": "invoice_payment",
    "payment_intent.": "payment_intent",
    "payment_method.": "payment_method",
    "billing.meter.": "billing.meter",
    "invoice.": "invoice",
    "customer.": "customer",
    "product.": "product",
    "price.": "price",
}


class Control:
    def __init__(self, store: Store, url: str, machine: TimeMachine, sender: Sender) -> None:
        self.store, self.url, self.machine, self.sender = store, url, machine, sender

    def _world(self) -> World:
        return World(self.store, self.url)

    def health(self, body: Object) -> Object:
        return {"status": "ok"}

    def state(self, body: Object) -> Object:
        """How many objects there are of each kind, the account's time, and what is set."""
        counts = dict(self.store.rows("select kind, count(*) from object where gone = 0 group by kind order by kind"))
        waiting = self.store.rows("select count(*) from delivery where state = 'waiting'")[0][0]
        (usage,) = self.store.rows("select count(*), coalesce(sum(value), 0) from meter_event where not canceled")
        return {
            "now": self._world().now(),
            "objects": counts,
            "meter_events": usage[0],
            "meter_value": usage[1],
            "deliveries_waiting": waiting,
            "last_delivery": self.store.rows("select coalesce(max(seq), 0) from delivery")[0][0],
            "faults": self.store.setting("faults", []),
            "webhooks": faults.WEBHOOKS | self.store.setting("webhooks", {}),
            "after_retries": self.store.setting("after_retries", standing.AFTER_RETRIES),
        }

    def advance(self, body: Object) -> Object:
        """{"span": "1 month"} or {"to": Unix time}: returns {"now", "events": {type: count}} when it has happened."""
        now = self._world().now()
        target = int(body["to"]) if "to" in body else periods.later(now, str(body["span"]))
        if target < now:
            raise ValueError("Time moves forwards only.")
        (before,) = self.store.rows("select coalesce(max(seq), 0) from object")[0]
        self.machine.advance(target)
        self.sender.wake()
        events = self.store.rows(
            "select tag, count(*) from object where kind = 'event' and seq > ? group by tag order by min(seq)",
            (before,),
        )
        return {"now": self._world().now(), "events": dict(events)}

    def fault(self, body: Object) -> Object:
        """Add a rule, or with {"clear": true} take all away."""
        if body.get("clear"):
            self.store.set("faults", [])
        else:
            faults.add(self.store, body)
        return {"faults": self.store.setting("faults", [])}

    def webhooks(self, body: Object) -> Object:
        """Set how webhooks are delivered. `secrets` replaces those of the endpoint of the environment."""
        secrets = body.pop("secrets", None)
        if unknown := set(body) - set(faults.WEBHOOKS):
            raise ValueError(f"Unknown: {', '.join(sorted(unknown))}. There are {', '.join(faults.WEBHOOKS)}.")
        self.store.set("webhooks", self.store.setting("webhooks", {}) | body)
        if secrets is not None:
            endpoint = self._world().get("webhook_endpoint", OURS)
            self._world().put(endpoint | {"_secrets": list(map(str, secrets))})
        self.sender.wake()
        return dict(faults.WEBHOOKS | self.store.setting("webhooks", {}))

    def resend(self, body: Object) -> Object:
        """Send an event, or with {"all": true} every one, once more."""
        if body.get("all"):
            events = self.store.rows("select id, tag from object where kind = 'event' order by seq")
        else:
            events = self.store.rows("select id, tag from object where kind = 'event' and id = ?", (body["event"],))
        if not events:
            raise ValueError(f"There is no event {body.get('event', 'yet')}.")
        count, world = 0, self._world()
        with self.store.transaction():
            for event, type_ in events:
                endpoints = world.endpoints_for(type_)
                world.deliver(event, endpoints)
                count += len(endpoints)
        self.sender.wake()
        return {"deliveries": count}

    def deliveries(self, body: Object) -> Object:
        """Attempts that are over, after the one numbered `after`: [{"seq", "event", "type", "attempts", "state", "answer"}]."""
        rows = self.store.rows(
            "select d.seq, d.event, o.tag, d.attempts, d.state, d.answer from delivery d join object o on o.id = d.event"
            " where d.seq > ? order by d.seq limit 500",
            (int(body.get("after", 0)),),
        )
        names = ("seq", "event", "type", "attempts", "state", "answer")
        return {"deliveries": [dict(zip(names, row, strict=True)) for row in rows]}

    def decline(self, body: Object) -> Object:
        """{"customer": id of a customer or of its tenant, "declines": bool}: whether its payments fail."""
        world = self._world()
        customer = self._customer(str(body["customer"]))
        world.put(customer | {"_declines": bool(body.get("declines", True))})
        return {"customer": customer["id"], "declines": bool(body.get("declines", True))}

    def _customer(self, name: str) -> Object:
        for customer in self.store.find("customer"):
            if name in (customer["id"], customer["email"], customer["metadata"].get("tenant_id")):
                return customer
        raise ValueError(f"There is no customer {name}: give its id, e-mail address, or tenant's id.")

    def trigger(self, body: Object) -> Object:
        """Send an event about an object as it is: {"type", "customer" or "subscription" or neither: the newest}."""
        type_ = str(body["type"])
        kind = next((kind for start, kind in _ABOUT.items() if type_.startswith(start)), None)
        if kind is None:
            raise ValueError(f"Unknown event type {type_}. Known ones begin with {', '.join(sorted(_ABOUT))}")
        customer = self._customer(str(body["customer"]))["id"] if body.get("customer") else None
        wanted = body.get("subscription")
        for item in self.store.find(kind, customer=None if kind == "customer" else customer):
            about = (item["id"], (item.get("parent") or {}).get("subscription_details", {}).get("subscription"))
            if (wanted and wanted not in about) or (kind == "customer" and customer not in (None, item["id"])):
                continue
            with self.store.transaction():
                self._world().record(type_, item)
            self.sender.wake()
            return {"type": type_, "object": item["id"]}
        raise ValueError(f"There is no such {kind} yet.")

    def settings(self, body: Object) -> Object:
        """{"after_retries": what becomes of a subscription whose last retry failed}."""
        if body.get("after_retries") not in ("canceled", "unpaid", "past_due"):
            raise ValueError("after_retries is canceled, unpaid or past_due.")
        self.store.set("after_retries", body["after_retries"])
        return {"after_retries": body["after_retries"]}

    def show(self, body: Object) -> Object:
        """The newest objects of a kind: {"kind", "customer": optional, "limit": optional}."""
        found = self.store.find(str(body["kind"]), customer=body.get("customer"))
        limit = int(body.get("limit", 20))
        return {"objects": [self._world().shown(item) for _, item in zip(range(limit), found, strict=False)]}


class Command:
    """One command: GET with its parameters in the query, POST with a JSON object."""

    def __init__(self, run: Callable[[Object], Object]) -> None:
        self.run = run

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        self._answer(resp, dict(req.params))

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        body = json.loads(req.bounded_stream.read() or b"{}")
        self._answer(resp, body)

    def _answer(self, resp: falcon.Response, body: Object) -> None:
        resp.content_type = falcon.MEDIA_JSON
        try:
            resp.text = json.dumps(self.run(body))
        except (ValueError, KeyError) as error:
            resp.status = 400
            missing = isinstance(error, KeyError)
            resp.text = json.dumps({"error": f"{error.args[0]} is missing" if missing else str(error)})


def add_routes(app: falcon.App[Any, Any], store: Store, url: str, machine: TimeMachine, sender: Sender) -> None:
    control = Control(store, url, machine, sender)
    app.add_route("/health", Command(control.health))
    names = "state advance fault webhooks resend deliveries decline trigger settings show"
    for name in names.split():
        app.add_route(f"/_standin/{name}", Command(getattr(control, name)))
