"""The stream of billing's events from Stripe's webhook to a client, while everything in between dies or forgets."""

import json
import threading
import time

import httpx

from tests.support.stripe_events import unhandled
from tests.support.stripe_webhooks import signed

EVENTS = 80
DISASTERS = {15: "edge", 30: "worker-jobs", 45: "redis", 60: "edge"}  # before which event what happens


class Client(threading.Thread):
    """Follows the stream, and comes back with the last number that it has whenever it is broken off."""

    def __init__(self, live, after):
        super().__init__(daemon=True)
        self.live, self.last, self.got, self.opened, self.is_done = live, after, [], 0, threading.Event()
        self.start()

    def run(self):
        while not self.is_done.is_set():
            try:
                self._follow()
            except httpx.HTTPError:
                time.sleep(0.2)

    def _follow(self):
        headers = {**self.live.http.headers, "Last-Event-ID": str(self.last)}
        with httpx.stream("GET", f"{self.live.url}/api/v1/billing/stream", headers=headers, timeout=30) as answer:
            if answer.status_code != 200:
                time.sleep(0.5)
                return
            self.opened += 1
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    event = json.loads(line[6:])
                elif line.startswith("id: "):
                    self.last = int(line[4:])
                    self.got.append((self.last, event))
                if self.is_done.is_set():
                    return


def deliver(live, event):
    while True:  # until it is acknowledged, as Stripe does
        try:
            raw, headers = signed(event, live.stack.env["STRIPE_WEBHOOK_SECRET"])
            if httpx.post(f"{live.url}/webhooks/stripe", content=raw, headers=headers, timeout=20).status_code == 202:
                return
        except httpx.HTTPError:
            time.sleep(0.1)


def strike(live, what, tenant_id):
    if what == "redis":
        live.redis().delete(f"billing:events:tenant:{tenant_id}")
        return
    live.processes[what].kill()
    live.processes[what].wait()
    live.revive()
    live.wait_ready()


def test_a_client_gets_every_event_once_and_in_order_while_processes_die(live, wait_until):
    tenant_id = live.http.get("/api/v1/tenants/settings").json()["tenant_id"]
    [(begin,)] = live.sql("select coalesce(max(position), 0) from inbox_event where tenant_id = %s", tenant_id)
    client = Client(live, begin)
    sent = [unhandled(tenant_id) for _ in range(EVENTS)]
    for number, event in enumerate(sent):
        if number in DISASTERS:
            strike(live, DISASTERS[number], tenant_id)
        deliver(live, event)
    wait_until(lambda: len(client.got) >= EVENTS, 120)
    client.is_done.set()
    assert [number for number, _ in client.got] == list(range(begin + 1, begin + EVENTS + 1))
    assert {event["stripe_event_id"] for _, event in client.got} == {event["id"] for event in sent}
    assert client.opened >= 3
    page = live.http.get(f"/api/v1/billing/tenants/{tenant_id}/events", params={"limit": EVENTS}).json()
    in_order = sorted(page["items"], key=lambda event: event["position"])  # the history is in the order of receipt
    assert in_order == [event for _, event in client.got], "the history has the same words"
