"""Webhooks of Stripe accepted per second: signature checked, stored and committed before the answer."""

from gevent import monkey

monkey.patch_all()

import hashlib  # noqa: E402
import hmac  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import time  # noqa: E402
from itertools import count  # noqa: E402

import gevent  # noqa: E402

from devstack.bench.report import Measure, Row, Target, ms, quantile, row  # noqa: E402
from devstack.bench.tools import Setup, connect, exchange, print_rows  # noqa: E402
from devstack.bench.usage import Meter  # noqa: E402

CONNECTIONS, SECONDS, BODY_BYTES = 64, 6, 3_000  # an event of a subscription has about as many bytes
RATE, P99 = 1_000, 250  # targets: events/s, and ms
IDS = count(1)


def event() -> bytes:
    """The request that delivers a fresh event of a type that no handler knows, so that only its acceptance is measured."""
    event_id = f"evt_bench_{os.getpid()}_{next(IDS)}"
    thing = {"id": f"ch_{event_id}", "object": "charge", "description": "x" * BODY_BYTES}
    fields = {"object": "event", "type": "charge.updated", "created": int(time.time()), "livemode": False}
    body = json.dumps({"id": event_id, **fields, "data": {"object": thing}}).encode()
    at = int(time.time())
    signed = b"%d.%s" % (at, body)
    digest = hmac.new(os.environ["STRIPE_WEBHOOK_SECRET"].encode(), signed, hashlib.sha256).hexdigest()
    head = (
        "POST /webhooks/stripe HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Stripe-Signature: t={at},v1={digest}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def load(url: str, seconds: float) -> list[float]:
    """Seconds that each event took, sent over CONNECTIONS connections as fast as they are answered."""
    latencies: list[float] = []
    until = time.perf_counter() + seconds

    def client() -> None:
        sock = connect(url)
        while time.perf_counter() < until:
            raw = event()
            began = time.perf_counter()
            exchange(sock, raw, status=202)
            latencies.append(time.perf_counter() - began)

    gevent.joinall([gevent.spawn(client) for _ in range(CONNECTIONS)], raise_error=True)
    return latencies


def measure(setup: Setup) -> list[Row]:
    """Our edge, and the bare peer under the same load; each is warmed up first."""
    found = {}
    for name, url, process in (("ours", setup.url, "edge"), ("bare", setup.peer_url or "", "bare")):
        load(url, 1)
        meter = Meter({name: setup.pids[process], "postgres": setup.pids["postgres"]})
        found[name] = load(url, SECONDS), meter.used()[name]
    (ours, ours_cpu), (bare, bare_cpu) = found["ours"], found["bare"]
    scenario = f"webhooks of {BODY_BYTES} bytes over {CONNECTIONS} connections"
    note = "signature and one INSERT on the same gunicorn"
    rates = Measure((len(ours) / SECONDS,), "/s"), Measure((len(bare) / SECONDS,), "/s", note)
    return [
        row(scenario, "accepted", *rates, target=Target(">=", (RATE,)), better="higher"),
        row(scenario, "latency, p50 / p99", ms(ours), ms(bare)),
        row(scenario, "latency, p99", Measure((1000 * quantile(ours, 0.99),), "ms"), target=Target("<=", (P99,))),
        row(
            scenario,
            "CPU of the edge per event",
            Measure((1000 * ours_cpu / len(ours),), "ms"),
            Measure((1000 * bare_cpu / len(bare),), "ms"),
        ),
    ]


if __name__ == "__main__":
    print_rows(measure(Setup.from_arguments()))
