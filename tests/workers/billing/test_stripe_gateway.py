"""The gateway to Stripe, through Stripe's library, against a server that answers as each test says."""

import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import stripe
from prometheus_client import REGISTRY

from models.platform.clock import now
from models.platform.database import transaction
from models.platform.settings import settings
from workers.gateways.stripe import (
    API_VERSION,
    CardDeclined,
    NotThere,
    ProviderAuthentication,
    ProviderError,
    ProviderRejected,
    ProviderUnavailable,
    call,
    client,
    every,
)

KEY = "sk_test_4242424242"
CUSTOMER = {"id": "cus_1", "object": "customer", "metadata": {"tenant_id": "t"}}


class Server(ThreadingHTTPServer):
    """`answers`: (status, body, headers) in order, the last one for ever; `calls`: (request, headers, body)."""

    daemon_threads = True
    answers = ((200, CUSTOMER, {}),)

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.calls, self.peers = [], set()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self.server.peers.add(self.client_address)
        self.server.calls.append((f"{self.command} {self.path}", dict(self.headers), body))
        status, answer, headers = self.server.answers[min(len(self.server.calls), len(self.server.answers)) - 1]
        if status == "hang up":
            self.close_connection = True
            return
        data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        self.send_response_only(status)
        for name, value in {"Content-Length": str(len(data)), "Request-Id": "req_1", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self):
        self.do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def server(configure, monkeypatch):
    monkeypatch.setattr(stripe.HTTPClient, "_sleep_time_seconds", lambda *_: 0)
    found = Server()
    threading.Thread(target=found.serve_forever, daemon=True).start()
    configure(stripe_secret_key=KEY, stripe_api_base=found.url, stripe_timeout_seconds=5)
    yield found
    found.shutdown()
    found.server_close()


def create(key=None):
    options = {"idempotency_key": key} if key else {}
    return call("customers.create", lambda stripe: stripe.v1.customers.create({"email": "jo@example.com"}, options))


def failing(code=None, kind="invalid_request_error", message="No.", **more):
    return {"error": {"type": kind, "message": message, **({"code": code} if code else {}), **more}}


def count(result):
    return (
        REGISTRY.get_sample_value("stripe_api_requests_total", {"operation": "customers.create", "result": result}) or 0
    )


def test_an_answer_is_plain_data_with_stripes_time(server):
    price = {
        "id": "price_1",
        "object": "price",
        "unit_amount_decimal": "0.50",
        "tiers": [{"unit_amount_decimal": "1.5"}],
    }
    server.answers = [(200, price, {"Date": "Sat, 01 Aug 2026 10:00:05 GMT"})]
    before = count("success")
    answer = create()
    assert answer == price and type(answer["tiers"][0]) is dict and json.loads(json.dumps(answer)) == price
    assert answer.at == datetime(2026, 8, 1, 10, 0, 5, tzinfo=UTC)
    assert count("success") == before + 1


@pytest.mark.parametrize("date", [None, "", "yesterday"])
def test_without_stripes_time_it_is_ours(server, date):
    server.answers = [(200, CUSTOMER, {} if date is None else {"Date": date})]
    before = now()
    assert before <= create().at <= now()


def test_what_is_sent(server):
    create("op:create")
    [(request, headers, body)] = server.calls
    assert request == "POST /v1/customers" and body == "email=jo%40example.com"
    assert headers["Authorization"] == f"Bearer {KEY}" and headers["Idempotency-Key"] == "op:create"
    assert headers["Stripe-Version"] == API_VERSION == stripe.api_version
    assert f"{settings.app_name}/{settings.app_version}" in headers["User-Agent"]
    create("op:again")
    assert not [name for name in server.calls[-1][1] if "telemetry" in name.lower()]
    assert "telemetry_id" not in server.calls[-1][1]["X-Stripe-Client-User-Agent"]


@pytest.mark.parametrize(
    ("status", "body", "expected", "details", "calls"),
    [
        (402, failing("card_declined", "card_error", "Declined.", decline_code="insufficient_funds"), CardDeclined,
         {"message": "Declined.", "decline_code": "insufficient_funds"}, 1),
        (402, failing("expired_card", "card_error", "Expired."), CardDeclined, {"decline_code": "expired_card"}, 1),
        (400, failing("parameter_missing", message="Missing: items.", param="items"), ProviderRejected,
         {"message": "Missing: items.", "param": "items", "reason": "parameter_missing"}, 1),
        (400, failing(kind="idempotency_error", message="Other parameters."), ProviderRejected, {}, 1),
        (404, failing("resource_missing", param="id"), NotThere, {"param": "id"}, 1),
        (400, failing("resource_missing", param="customer"), NotThere, {"param": "customer"}, 1),
        (405, failing(), ProviderRejected, {}, 1),
        (401, failing(message=f"Invalid API Key provided: {KEY}"), ProviderAuthentication, {}, 1),
        (403, failing(message=f"{KEY} may not"), ProviderAuthentication, {}, 1),
        (429, failing("rate_limit"), ProviderUnavailable, {}, 1),
        (400, failing("rate_limit"), ProviderUnavailable, {}, 1),
        (409, failing("idempotency_key_in_use"), ProviderUnavailable, {}, 3),
        (409, failing("lock_timeout"), ProviderUnavailable, {}, 3),
        (500, failing(kind="api_error"), ProviderUnavailable, {}, 3),
        (503, "<html>down</html>", ProviderUnavailable, {}, 3),
        (502, "", ProviderUnavailable, {}, 3),
        (200, "<html>a proxy's page</html>", ProviderUnavailable, {}, 1),
        (400, '"no"', ProviderRejected, {}, 1),
        ("hang up", "", ProviderUnavailable, {}, 3),
    ],
)  # fmt: skip
def test_errors_are_ours(server, status, body, expected, details, calls):
    server.answers = [(status, body, {})]
    before = count(expected.code)
    with pytest.raises(ProviderError) as caught:
        create("op:create")
    error = caught.value
    assert type(error) is expected and {name: getattr(error, name) for name in details} == details
    assert error.may_heal is (expected is ProviderUnavailable)
    assert KEY not in f"{error!s} {error!r} {vars(error)}" and error.__cause__ is None
    assert len(server.calls) == calls and {headers["Idempotency-Key"] for _, headers, _ in server.calls} == {
        "op:create"
    }
    assert count(expected.code) == before + 1


def test_what_heals_within_a_call_is_no_error(server):
    server.answers = [("hang up", "", {}), (500, failing(), {}), (200, CUSTOMER, {})]
    assert create("op:create")["id"] == "cus_1"
    assert {headers["Idempotency-Key"] for _, headers, _ in server.calls} == {"op:create"}


@pytest.mark.parametrize(("advice", "calls"), [("true", 3), ("false", 1)])
def test_stripes_advice_about_retries_is_taken(server, advice, calls):
    server.answers = [(500 if advice == "false" else 429, failing(), {"Stripe-Should-Retry": advice})]
    with pytest.raises(ProviderUnavailable):
        create()
    assert len(server.calls) == calls


def test_a_server_that_says_nothing_is_given_up(server, configure, monkeypatch):
    configure(stripe_timeout_seconds=0.2)
    stop = threading.Event()
    monkeypatch.setattr(Handler, "do_POST", lambda self: stop.wait(10))
    with pytest.raises(ProviderUnavailable):
        create()
    stop.set()


def test_nobody_listens(configure, server):
    server.server_close()
    with pytest.raises(ProviderUnavailable):
        create()


@pytest.mark.parametrize("key", [None, "", "  "])
def test_without_a_key_nothing_is_sent(server, configure, key):
    configure(stripe_secret_key=key)
    with pytest.raises(ProviderAuthentication, match="STRIPE_SECRET_KEY is not configured"):
        create()
    assert not server.calls


def test_no_transaction_is_held_while_stripe_answers(server, clean):
    with transaction(), pytest.raises(RuntimeError, match="must not be called in a transaction"):
        create()
    assert not server.calls and create()["id"] == "cus_1"


def test_connections_are_kept_by_each_thread(server):
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda number: create(f"op:{number}"), range(40)))
    assert len(answers) == len(server.calls) == 40
    assert len(server.peers) <= 4
    assert client() is client()


def test_a_list_is_read_to_its_end(server):
    def page(*ids, more):
        return {
            "object": "list",
            "url": "/v1/customers",
            "has_more": more,
            "data": [{**CUSTOMER, "id": each} for each in ids],
        }

    server.answers = [(200, page("cus_1", "cus_2", more=True), {}), (200, page("cus_3", more=False), {})]
    found = every("customers.list", lambda stripe, page: stripe.v1.customers.list(page), email="jo@example.com")
    assert [each["id"] for each in found] == ["cus_1", "cus_2", "cus_3"]
    assert [request for request, _, _ in server.calls] == [
        "GET /v1/customers?email=jo%40example.com&limit=100",
        "GET /v1/customers?email=jo%40example.com&limit=100&starting_after=cus_2",
    ]


def test_logs_say_nothing_of_what_was_sent(server, caplog):
    from models.platform import logs

    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        logs.configure("worker")
        root.addHandler(caplog.handler)
        root.setLevel(logging.DEBUG)
        server.answers = [(402, failing("card_declined", "card_error"), {})]
        with pytest.raises(CardDeclined):
            create()
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    assert not [record for record in caplog.records if record.name == "stripe"]
    assert "jo@example.com" not in caplog.text and KEY not in caplog.text
