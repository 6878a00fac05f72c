"""The life of a subscription on real processes: from signing up to a failed payment and back.

The same flow runs against Stripe itself if STRIPE_TEST_KEY is a key of its test mode. Time is moved by a test clock, so the
other tests' tenants stay where they are.
"""

import contextlib
import hashlib
import hmac
import json
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.flows.conftest import Live

KEY = os.environ.get("STRIPE_TEST_KEY", "")
SECRET = "whsec_of_the_flow_test"
GOOD, FAILS = "pm_card_visa", "pm_card_chargeCustomerFail"
PASSWORD = "a-long-walk-by-the-sea"
MONTH = 31 * 86_400


class Api:
    """Stripe's API, as a person at its dashboard would use it."""

    def __init__(self, url, key):
        headers = {"Authorization": f"Bearer {key}", "Stripe-Version": "2026-10-28.endive"}
        self.http = httpx.Client(base_url=url, timeout=60, headers=headers)

    def __call__(self, method, path, **params):
        answer = self.http.request(method, f"/v1/{path}", **({"params" if method == "GET" else "data": params}))
        assert answer.status_code == 200, f"{method} {path}: {answer.text}"
        return answer.json()


class Tenant:
    """An owner who signs up and has a subscription."""

    def __init__(self, live, wait_until):
        self.live, self.wait_until = live, wait_until
        self.address = f"owner-{os.urandom(4).hex()}@example.com"
        self.http = httpx.Client(base_url=f"{live.url}/api/v1", timeout=60)

    def sign_up(self):
        body = {"email": self.address, "password": PASSWORD, "tenant_name": "Flow", "accept_terms": True}
        registered = self.http.post("/auth/register", json=body)
        assert registered.status_code == 201, registered.text
        self.http.headers["Authorization"] = f"Bearer {registered.json()['access_token']}"
        self.id = registered.json()["tenant_id"]
        [token] = self.wait_until(lambda: self.live.mailed_tokens(self.address, "Verify your address"))
        assert self.http.post("/auth/email/verify", json={"token": token}).status_code == 200

    def ask(self, method, name="subscription", status=200, **body):
        answer = self.http.request(
            method, f"/billing/tenants/{self.id}/{name}", **({"json": body} if method != "GET" else {})
        )
        assert answer.status_code == status, answer.text
        return answer.json()

    def eventually(self, **expected):
        """The subscription, once it is like this."""

        def check():
            now = self.ask("GET")
            return now if expected.items() <= now.items() else None

        return self.wait_until(check, 60)


@contextlib.contextmanager
def forwarded(api, live):
    """Give Stripe's events to the edge, as Stripe does where it can reach it."""
    began, seen, stop = int(time.time()) - 5, set(), threading.Event()

    def loop():
        while not stop.wait(1):
            for event in reversed(api("GET", "events", limit=100, **{"created[gte]": began})["data"]):
                if event["id"] not in seen:
                    seen.add(event["id"])
                    body, now = json.dumps(event), int(time.time())
                    sign = hmac.new(SECRET.encode(), f"{now}.{body}".encode(), hashlib.sha256).hexdigest()
                    header = {"Stripe-Signature": f"t={now},v1={sign}", "Content-Type": "application/json"}
                    assert httpx.post(f"{live.url}/webhooks/stripe", content=body, headers=header).status_code == 202

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    yield
    stop.set()
    thread.join()


@pytest.fixture
def standin_account(live):
    env = live.stack.env
    return live, Api(env["STRIPE_API_BASE"], env["STRIPE_SECRET_KEY"])


@pytest.fixture
def real_account():
    if not KEY.startswith("sk_test_"):
        pytest.skip("STRIPE_TEST_KEY is not set to a key of Stripe's test mode")
    from devstack.stack import Stack

    state = Path(tempfile.mkdtemp(prefix="longshore-stripe-"))
    settings = {"ENABLE_BILLING": "true", "STRIPE_SECRET_KEY": KEY, "STRIPE_WEBHOOK_SECRET": SECRET}
    environ = {name: value for name, value in os.environ.items() if not name.endswith("_URL")} | settings
    api = Api("https://api.stripe.com", KEY)
    with Stack(state, environ=environ) as stack:
        stack.start_parts()
        stack.migrate()
        live = Live(stack)
        for name in ("edge", "worker-jobs", "scheduler"):
            live.start(name)
        live.wait_ready()
        with forwarded(api, live):
            yield live, api
    shutil.rmtree(state, ignore_errors=True)


def with_clock(live, api, tenant):
    """Sign up, and let the tenant's customer be one with a clock of its own: returns (clock, customer)."""
    clock = api("POST", "test_helpers/test_clocks", frozen_time=int(time.time()))["id"]
    customer = api("POST", "customers", test_clock=clock)["id"]
    job_worker = live.processes["worker-jobs"]
    os.killpg(job_worker.pid, 19)  # SIGSTOP: nobody tells Stripe of the new tenant, or sends its mail
    try:
        thread = threading.Thread(target=tenant.sign_up)
        thread.start()
        tenant.wait_until(lambda: getattr(tenant, "id", None), 30)
        shown = tenant.wait_until(lambda: live.sql("select status from subscription where tenant_id = %s", tenant.id))
        assert shown == [("trialing",)], "the tenant has its trial, though Stripe knows nothing of it"
        api("POST", f"customers/{customer}", **{"metadata[tenant_id]": tenant.id})
        link = """insert into billing_customer (tenant_id, stripe_customer_id) values (%s, %s)
            on conflict (tenant_id) do update set stripe_customer_id = excluded.stripe_customer_id"""
        live.sql(link, tenant.id, customer)
    finally:
        os.killpg(job_worker.pid, 18)  # SIGCONT
    thread.join(60)
    return clock, customer


def advance(api, clock, seconds, wait_until):
    now = api("GET", f"test_helpers/test_clocks/{clock}")["frozen_time"]
    api("POST", f"test_helpers/test_clocks/{clock}/advance", frozen_time=now + seconds)
    wait_until(lambda: api("GET", f"test_helpers/test_clocks/{clock}")["status"] == "ready", 120, 0.2)


def use_card(api, customer, card):
    """The customer pays with this card from now on, for everything."""
    method = api("POST", f"payment_methods/{card}/attach", customer=customer)["id"]
    api("POST", f"customers/{customer}", **{"invoice_settings[default_payment_method]": method})
    for subscription in api("GET", "subscriptions", customer=customer)["data"]:
        api("POST", f"subscriptions/{subscription['id']}", default_payment_method=method)
    return method


def buy_on_the_page(api, tenant):
    page = tenant.ask("POST", "checkout", 201, plan_code="pro")
    paid = httpx.post(page["url"], data={"action": "pay", "card": GOOD}, timeout=30)
    assert paid.status_code == 303, paid.text


def buy_with_a_card(api, tenant):
    """Stripe's own page cannot be filled in by a test."""
    tenant.ask("POST", "subscription/cancel", cancel_at_period_end=False)
    tenant.ask("POST", status=201, plan_code="pro", payment_method=GOOD)


@pytest.mark.parametrize(
    ("where", "buy"),
    [("standin_account", buy_on_the_page), ("real_account", buy_with_a_card)],
    ids=["stand-in", "Stripe"],
)
def test_the_life_of_a_subscription(request, wait_until, where, buy):
    live, api = request.getfixturevalue(where)
    tenant = Tenant(live, wait_until)
    clock, customer = with_clock(live, api, tenant)
    trial = tenant.eventually(pending_change=None)
    assert (trial["plan_code"], trial["status"], trial["billing_email"]) == ("starter", "trialing", tenant.address)

    buy(api, tenant)
    bought = tenant.eventually(plan_code="pro", status="active", seat_count=5)
    wait_until(lambda: len(api("GET", "subscriptions", customer=customer)["data"]) == 1, 60)  # the trial has ended
    is_open = "select 1 from billing_operation where tenant_id = %s and state = 'pending'"
    wait_until(lambda: not live.sql(is_open, tenant.id), 60)
    assert tenant.ask("PATCH", seat_count=7)["seat_count"] == 7
    preview = tenant.ask("POST", "preview", plan_code="starter", seat_count=1)
    assert preview["currency"] == "USD" and preview["next_invoice_cents"] < 9900
    starter = tenant.ask("PATCH", plan_code="starter", proration_behavior="none")
    assert (starter["plan_code"], starter["seat_count"]) == ("starter", 1)
    assert tenant.ask("PATCH", plan_code="pro", seat_count=7, proration_behavior="none")["plan_code"] == "pro"
    cancelled = tenant.ask("POST", "subscription/cancel")
    assert (cancelled["auto_renew"], cancelled["cancel_at"]) == (False, cancelled["current_period_end"])
    undone = tenant.ask("PATCH", auto_renew=True)
    assert (undone["auto_renew"], undone["cancel_at"], undone["status"]) == (True, None, "active")

    def renewed():
        now = tenant.ask("GET")
        return now if now["current_period_start"] > bought["current_period_start"] else None

    advance(api, clock, MONTH + 7200, wait_until)
    assert wait_until(renewed, 60)["status"] == "active"
    wait_until(lambda: sum(one["status"] == "paid" for one in tenant.ask("GET", "invoices")["items"]) >= 2, 60)

    use_card(api, customer, FAILS)
    advance(api, clock, MONTH + 7200, wait_until)
    tenant.eventually(status="past_due")
    unpaid = wait_until(lambda: [one for one in tenant.ask("GET", "invoices")["items"] if one["status"] == "open"], 30)
    card = use_card(api, customer, GOOD)
    advance(api, clock, 60, wait_until)  # events of one second have no order, and a stopped clock has one second only
    api("POST", f"invoices/{unpaid[0]['invoice_id']}/pay", payment_method=card)
    tenant.eventually(status="active")

    tenant.ask("POST", "subscription/cancel", cancel_at_period_end=False)
    tenant.eventually(status="canceled", auto_renew=False)
    told = {
        event["event_type"]
        for event in tenant.http.get(f"/billing/tenants/{tenant.id}/events?limit=100").json()["items"]
    }
    own = {f"longshore.subscription.{verb}" for verb in ("started", "updated", "canceled")}
    assert told >= own | {"customer.subscription.deleted", "invoice.payment_failed", "invoice.paid"}


def test_a_worker_that_is_killed_between_stripes_answer_and_our_commit_leaves_one_subscription(live, wait_until):
    api = Api(live.stack.env["STRIPE_API_BASE"], live.stack.env["STRIPE_SECRET_KEY"])
    tenant = Tenant(live, wait_until)
    fault = {"operation": "POST /v1/subscriptions", "kind": "slow", "seconds": 2, "times": 1}
    httpx.post(f"{live.stack.env['STRIPE_API_BASE']}/_standin/fault", json=fault)
    tenant.sign_up()

    def is_under_way():
        running = "select 1 from job where name = 'billing.operation' and state = 'running' and tenant_id = %s"
        return live.sql(running, tenant.id)

    wait_until(is_under_way, 30)
    live.processes["worker-jobs"].kill()
    live.start("worker-jobs")
    tenant.wait_until(lambda: tenant.ask("GET")["pending_change"] is None, 60)
    [(customer,)] = live.sql("select stripe_customer_id from billing_customer where tenant_id = %s", tenant.id)
    assert len(api("GET", "subscriptions", customer=customer, status="all")["data"]) == 1
    assert tenant.ask("GET")["status"] == "trialing"
