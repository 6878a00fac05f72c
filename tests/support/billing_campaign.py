"""Years of billing of many tenants, as Stripe would tell them: for the test that tells them in the worst way."""

import json
import random
from uuid import UUID

from tests.support import stripe_objects
from tests.support.stripe_objects import START

DAY = 86_400
PAUSES = (1, 1, 1, 60, 3600)  # seconds between two events of a tenant; sometimes they are of one second


class Life:
    """The events of one tenant. `prices`: plan code -> id of its seat price."""

    def __init__(self, number, prices, seed):
        self.random = random.Random(f"{seed}-{number}")
        self.tenant_id = UUID(int=0x0190A0A0_0000_7000_8000_000000000000 + number)
        self.number, self.prices, self.at, self.events = number, prices, START + number, []
        self.customer = {"id": f"cus_{number}", "object": "customer", "email": f"{number}@example.com"}
        self.subscription, self.begun, self.invoices = None, 0, 0

    def tell(self, count):
        self._say("customer.created", self.customer)
        while len(self.events) < count:
            if self.subscription is None:
                self._begin()
            else:
                self.random.choice([self._renew, self._renew, self._fail, self._change, self._change, self._end])()
        return self.events[:count]

    def _say(self, event_type, thing, same_second=False):
        self.at += 0 if same_second else self.random.choice(PAUSES)
        thing = json.loads(json.dumps(thing)) | {"metadata": {"tenant_id": str(self.tenant_id)}}
        if event_type.startswith("invoice.") and self.random.random() < 0.5:
            thing["metadata"] = {}  # then only its subscription says whose it is
        event_id = f"evt_{self.random.randrange(16**6):06x}_{self.number}_{len(self.events)}"
        self.events.append(stripe_objects.event(event_type, thing, event_id, self.at) | {"livemode": False})

    def _update(self, same_second=False, **changes):
        self.subscription |= changes
        self._say("customer.subscription.updated", self.subscription, same_second)

    def _begin(self):
        self.begun += 1
        price, trial = self.random.choice(list(self.prices.values())), self.random.random() < 0.3
        item = stripe_objects.item(price, self.random.randrange(1, 9), current_period_end=self.at + 30 * DAY)
        status = "trialing" if trial else "incomplete"
        begin = {"start_date": self.at, "trial_start": self.at if trial else None, "customer": self.customer["id"]}
        self.subscription = stripe_objects.subscription(
            item, id=f"sub_{self.number}_{self.begun}", status=status, ended_at=None, **begin
        )
        self._say("customer.subscription.created", self.subscription)
        if not trial:
            self._update(same_second=self.random.random() < 0.5, status="active")

    def _invoice(self, verb, status, same_second=False):
        details = {"subscription": self.subscription["id"], "metadata": {}}
        known = {"customer": self.customer["id"], "created": self.at, "status": status}
        known["parent"] = {"type": "subscription_details", "subscription_details": details}
        thing = stripe_objects.invoice(stripe_objects.line(), id=f"in_{self.number}_{self.invoices}", **known)
        self._say(f"invoice.{verb}", thing, same_second)

    def _renew(self):
        self.invoices += 1
        self.at += 30 * DAY
        item = self.subscription["items"]["data"][0]
        item |= {"current_period_start": self.at, "current_period_end": self.at + 30 * DAY}
        self._update(status="active")
        self._invoice("finalized", "open")
        self._invoice("paid", "paid", same_second=True)
        self._invoice("payment_succeeded", "paid", same_second=True)

    def _fail(self):
        self.invoices += 1
        self._invoice("finalized", "open")
        self._invoice("payment_failed", "open")
        self._update(status="past_due")
        if self.random.random() < 0.7:
            self._update(default_payment_method="pm_2")
            self._invoice("paid", "paid")
            self._update(status="active")

    def _change(self):
        item = self.subscription["items"]["data"][0]
        item["quantity"] = self.random.randrange(1, 9)
        self._update(same_second=self.random.random() < 0.1)
        if self.random.random() < 0.2:
            self.customer |= {"email": f"{self.number}-{self.at}@example.com"}
            self._say("customer.updated", self.customer)
        if self.random.random() < 0.3:
            self._update(cancel_at_period_end=not self.subscription["cancel_at_period_end"])

    def _end(self):
        if self.random.random() < 0.5:
            return
        self.subscription |= {"status": "canceled", "ended_at": self.at + 1}
        self._say("customer.subscription.deleted", self.subscription)
        self.subscription = None


def lives(tenants, count, prices, seed):
    """`tenants` lives of `count` events each."""
    found = [Life(number, prices, seed) for number in range(tenants)]
    for life in found:
        life.tell(count)
        del life.events[count:]
    return found


def in_order(lives):
    """All their events in the order of their times, as far as the times tell; that of one tenant is never changed."""
    merged = [
        (event["created"], life.number, place, event) for life in lives for place, event in enumerate(life.events)
    ]
    return [event for *_, event in sorted(merged, key=lambda item: item[:3])]
