"""A stand-in for Stripe per module, its SDK, and a server that collects the webhooks."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
import stripe

from devstack.parts.stripe import KEY
from tests.support.stripe import standin


class Hooks(ThreadingHTTPServer):
    """Collects webhooks: `received` has (body, signature), `refuse` how many of the next ones get a 500."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self):
        self.received, self.refuse = [], 0
        super().__init__(("127.0.0.1", 0), _Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def types(self):
        return [json.loads(body)["type"] for body, _ in list(self.received)]


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        refused, self.server.refuse = self.server.refuse > 0, max(self.server.refuse - 1, 0)
        self.server.received.append((body, self.headers["Stripe-Signature"]))
        self.send_response(500 if refused else 202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def hooks():
    server = Hooks()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def part(tmp_path_factory, hooks):
    with standin(tmp_path_factory.mktemp("stripe"), hooks.url) as part:
        yield part


def connect(part, **options):
    settings = {"max_network_retries": 0, "base_addresses": {"api": part.url}} | options
    return stripe.StripeClient(KEY, **settings).v1


@pytest.fixture(scope="module")
def api(part):
    return connect(part)


@pytest.fixture
def control(part):
    """control("advance", span="1 month") -> the answer of the stand-in's own command."""

    def run(name, **body):
        answer = httpx.post(f"{part.url}/_standin/{name}", json=body, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return run


@pytest.fixture(scope="module")
def plan(api):
    """Prices: seats for $99 and $199 a month and $990 a year, a free one, and one by use."""

    class Plan:
        product = api.products.create({"name": "Pro"}).id
        meter = api.billing.meters.create(
            {"display_name": "Tokens", "event_name": "tokens", "default_aggregation": {"formula": "sum"}}
        )

    def price(amount, interval="month"):
        recurring = {"interval": interval}
        return api.prices.create(
            {"product": Plan.product, "currency": "usd", "unit_amount": amount, "recurring": recurring}
        ).id

    Plan.seat, Plan.big, Plan.year, Plan.free = price(9900), price(19900), price(99000, "year"), price(0)
    Plan.use = api.prices.create(
        {
            "product": Plan.product,
            "currency": "usd",
            "unit_amount_decimal": "0.05",
            "recurring": {"interval": "month", "usage_type": "metered", "meter": Plan.meter.id},
        }
    ).id
    return Plan


@pytest.fixture
def customer(api):
    """customer(card="visa", clock=None) -> a new one with that card as its default."""

    def create(card="visa", **more):
        params = {"email": "ada@example.com", "metadata": {"tenant_id": "t"}} | more
        if card:
            default = {"default_payment_method": f"pm_card_{card}"}
            params |= {"payment_method": f"pm_card_{card}", "invoice_settings": default}
        return api.customers.create(params)

    return create


def eventually(check, seconds=30):
    """Wait until `check()` is true, and return that."""
    end = time.monotonic() + seconds
    while not (result := check()):
        assert time.monotonic() < end, "it has not happened"
        time.sleep(0.02)
    return result


@pytest.fixture
def clock(api):
    """clock() -> a test clock; clock.advance(clock, seconds) moves it on and waits."""

    class Clock:
        def __init__(self, start=1_800_000_000):
            self.id = api.test_helpers.test_clocks.create({"frozen_time": start}).id
            self.now = start

        def to(self, time_):
            self.now = time_
            api.test_helpers.test_clocks.advance(self.id, {"frozen_time": time_})
            eventually(lambda: api.test_helpers.test_clocks.retrieve(self.id).status == "ready")

        def forward(self, *, days=0, hours=0):
            self.to(self.now + days * 86400 + hours * 3600)

    return Clock
