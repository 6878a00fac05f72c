"""Limits and usage with real processes: crowds at a limit, and what Stripe's meters get in the end."""

import contextlib
import os
import random
import threading
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from devstack.process import free_port
from tests.flows.conftest import eventually

CHATS = int(os.environ.get("USAGE_CHATS", "120"))
AT_ONCE = 500
LIMIT = 100


class Limited:
    """An edge with guardrails, for the demo tenant on a plan of its own."""

    def __init__(self, live, url):
        self.live, self.url = live, url
        self.tenant_id = live.sql("select id from tenant where slug = 'demo'")[0][0]

    def used(self):
        [(used,)] = self.live.sql(
            """select (select coalesce(sum(quantity), 0) from usage_entry where tenant_id = %s and feature = 'messages'
                   and used_at >= date_trunc('month', now()))
                 + (select count(*) from run where tenant_id = %s and state in ('queued', 'running', 'waiting'))""",
            self.tenant_id,
            self.tenant_id,
        )
        return int(used)

    def allow(self, more):
        """Set the limit to what is used and this many more."""
        self.live.sql(
            """insert into plan_limit (plan_code, feature, unit, hard_limit) values ('crowded', 'messages', 'messages', %s)
               on conflict (plan_code, feature) do update set hard_limit = excluded.hard_limit""",
            self.used() + more,
        )
        self.live.redis().delete(f"usage:{self.tenant_id}")

    def crowd(self, size, message="[[deltas=2]]"):
        """The status codes of so many chats at once."""
        limits = httpx.Limits(max_connections=size)
        with (
            httpx.Client(base_url=self.url, headers=self.live.http.headers, limits=limits, timeout=120) as http,
            ThreadPoolExecutor(size) as pool,
        ):
            barrier = threading.Barrier(size)

            def chat(_):
                barrier.wait(60)
                with contextlib.suppress(httpx.TransportError):
                    return http.post("/api/v1/chat", json={"message": message}).status_code

            return list(pool.map(chat, range(size)))

    def runs(self):
        return self.live.sql("select count(*) from run where tenant_id = %s", self.tenant_id)[0][0]

    def failed(self, before):
        """How many have failed of all runs but the first `before` ones."""
        query = "select state from run where tenant_id = %s order by created_at, id offset %s"
        return [state for (state,) in self.live.sql(query, self.tenant_id, before)].count("failed")

    def is_idle(self):
        open_runs = "select 1 from run where tenant_id = %s and state in ('queued', 'running')"
        return not self.live.sql(open_runs, self.tenant_id)


@pytest.fixture(scope="module")
def crowded(live_stack):
    port = free_port()
    edge = live_stack.stack.spawn(
        "edge",
        PORT=str(port),
        ENABLE_USAGE_GUARDRAILS="true",
        ENABLE_BILLING="false",
        NETWORK_REQUEST_LIMIT="0",
        NETWORK_CONNECTION_LIMIT="0",
    )
    limited = Limited(live_stack, f"http://127.0.0.1:{port}")
    plan = live_stack.sql("select plan_code from tenant where id = %s", limited.tenant_id)[0][0]
    live_stack.sql("insert into plan (code, name) values ('crowded', 'Crowded') on conflict do nothing")
    live_stack.sql("update tenant set plan_code = 'crowded' where id = %s", limited.tenant_id)
    eventually(lambda: httpx.get(f"{limited.url}/health").status_code == 200, 30)
    yield limited
    live_stack.sql("update tenant set plan_code = %s where id = %s", plan, limited.tenant_id)
    live_stack.sql("delete from plan where code = 'crowded'")
    edge.stop()


def test_of_500_chats_at_once_a_limit_of_100_lets_exactly_100_begin(live, crowded):
    eventually(crowded.is_idle, 60)
    crowded.allow(LIMIT)
    before = crowded.runs()
    codes = crowded.crowd(AT_ONCE)
    assert (crowded.runs() - before, codes.count(429)) == (LIMIT, AT_ONCE - LIMIT)
    eventually(crowded.is_idle, 60)
    assert crowded.crowd(3) == [429] * 3


def test_a_redis_that_is_flushed_meanwhile_lets_no_more_begin(live, crowded):
    eventually(crowded.is_idle, 60)
    crowded.allow(LIMIT)
    before, stop = crowded.runs(), threading.Event()

    def flush():
        while not stop.wait(0.15):
            live.redis().flushdb()

    flusher = threading.Thread(target=flush)
    flusher.start()
    try:
        codes = crowded.crowd(AT_ONCE)
    finally:
        stop.set()
        flusher.join()
    begun = crowded.runs() - before
    eventually(crowded.is_idle, 90)
    assert LIMIT <= begun <= LIMIT + crowded.failed(before)  # a run that fails without its stream frees its place
    assert codes.count(429) == AT_ONCE - begun


def test_without_redis_no_more_begin_either(live, crowded):
    eventually(crowded.is_idle, 60)
    crowded.allow(LIMIT)
    before = crowded.runs()
    valkey = live.stack.parts["valkey"]
    valkey.kill()
    try:
        crowded.crowd(200)
        assert crowded.runs() - before == LIMIT
    finally:
        valkey.start()
    live.revive()
    live.wait_ready(60)
    eventually(crowded.is_idle, 120)
    assert crowded.crowd(3) == [429] * 3


# ------------------------------------------------------------- meters


class Meters:
    """The demo tenant's customer and meters at the stand-in."""

    def __init__(self, live):
        self.live, self.base = live, live.stack.env["STRIPE_API_BASE"]
        headers = {"Authorization": f"Bearer {live.stack.env['STRIPE_SECRET_KEY']}"}
        self.http = httpx.Client(base_url=self.base, headers=headers, timeout=30)
        self.tenant_id = live.sql("select id from tenant where slug = 'demo'")[0][0]
        self.customer = self._customer()
        self.began = int(time.time()) // 3600 * 3600

    def _post(self, path, **form):
        return self.http.post(path, data=form).raise_for_status().json()

    def _customer(self):
        self.live.sql("insert into billing_customer (tenant_id) values (%s) on conflict do nothing", self.tenant_id)
        query = "select stripe_customer_id from billing_customer where tenant_id = %s"
        known = self.live.sql(query, self.tenant_id)[0][0]
        if known is None:
            known = self._post("/v1/customers", email="demo@example.com")["id"]
            self.live.sql(
                "update billing_customer set stripe_customer_id = %s where tenant_id = %s", known, self.tenant_id
            )
        return known

    def prepare(self):
        """There is a subscription, and a meter for everything that chats use."""
        for feature in ("messages", "input_tokens", "output_tokens"):
            if not self.live.sql("select 1 from stripe_meter where feature = %s", feature):
                name = f"{feature}_{uuid.uuid4().hex}"
                form = {"display_name": feature, "event_name": name, "default_aggregation[formula]": "sum"}
                meter = self._post("/v1/billing/meters", **form)["id"]
                self.live.sql("insert into stripe_meter values (%s, %s, %s)", feature, name, meter)
        if not self.live.sql("select 1 from subscription where tenant_id = %s", self.tenant_id):
            self.live.sql(
                """insert into subscription (id, tenant_id, plan_code, status, starts_at, current_period_start,
                       current_period_end, stripe_subscription_id)
                   values (gen_random_uuid(), %s, 'pro', 'active', now(), now() - interval '1 day', now() + interval '29 days',
                       'sub_flow')""",
                self.tenant_id,
            )

    def fold(self):
        self.live.sql(
            """insert into job (id, created_at, name, queue, args, state, epoch, failures, max_failures, due_at, sent_at,
                   cancel_requested)
               values (gen_random_uuid(), now(), 'usage.fold', 'events', '{}', 'queued', 0, 0, 4, now(),
                   now() - interval '1 hour', false)"""
        )

    def fault(self, **rule):
        self.http.post("/_standin/fault", json=rule).raise_for_status()

    def received(self):
        """What the meters have of the tenant, by feature."""
        found = {}
        for feature, meter in self.live.sql("select feature, stripe_meter_id from stripe_meter"):
            bounds = {"customer": self.customer, "start_time": self.began - 3600, "end_time": self.began + 24 * 3600}
            page = self.http.get(f"/v1/billing/meters/{meter}/event_summaries", params=bounds).raise_for_status().json()
            found[feature] = round(sum(float(summary["aggregated_value"]) for summary in page["data"]))
        return found

    def summed(self, query):
        return {feature: int(total) for feature, total in self.live.sql(query, self.tenant_id) if total}

    def ledger(self):
        return self.summed("select feature, sum(quantity) from usage_entry where tenant_id = %s group by feature")

    def counted(self):
        return self.summed(
            """select feature, sum(quantity) from (
                   select tenant_id, feature, quantity from usage_counter
                   union all select tenant_id, feature, quantity from usage_tail
               ) as pieces where tenant_id = %s group by feature"""
        )

    def is_forwarded(self):
        unsent = "select (select count(*) from usage_tail) + (select count(*) from usage_batch where state <> 'sent')"
        self.live.sql(
            "update usage_batch set due_at = now() where state = 'sealed' and due_at > now() + interval '20 s'"
        )
        if self.live.sql(unsent)[0][0] == 0:
            return True
        self.live.revive()
        self.fold()
        time.sleep(0.5)
        return False


@pytest.mark.timeout(300 + CHATS / 5)
def test_what_chats_use_is_in_the_ledger_in_the_counters_and_in_the_meters_whatever_dies(live):
    """Workers are killed and answers of Stripe get lost meanwhile. USAGE_CHATS=10000 for the large one."""
    meters = Meters(live)
    meters.prepare()
    eventually(meters.is_forwarded, 60)
    ledger, received = meters.ledger(), meters.received()
    stop = threading.Event()

    def trouble():
        dice = random.Random(5)
        while not stop.wait(dice.uniform(0.5, 1.5) * (1 if CHATS < 1000 else 5)):
            meters.fold()
            kind = dice.choice(["lost", "status", "timeout"])
            meters.fault(operation="POST /v1/billing/meter_events", kind=kind, status=503, seconds=0.2, times=4)
            victim = dice.choice(["worker-agents", "spare", "worker-jobs"])
            process = live.processes[victim]
            if process.poll() is None and dice.random() < 0.5:
                process.kill()
            live.revive()

    def chat(_):
        with contextlib.suppress(httpx.TransportError):
            live.http.post("/api/v1/chat", json={"message": "[[deltas=2]]"}, timeout=120)

    before = live.sql("select count(*) from run where tenant_id = %s", meters.tenant_id)[0][0]
    troubled = threading.Thread(target=trouble)
    troubled.start()
    try:
        with ThreadPoolExecutor(min(100, CHATS // 3)) as pool:
            list(pool.map(chat, range(CHATS)))
    finally:
        stop.set()
        troubled.join()
    live.revive()
    meters.fault(clear=True)
    is_idle = "select count(*) = 0 from run where tenant_id = %s and state in ('queued', 'running')"
    eventually(lambda: live.sql(is_idle, meters.tenant_id)[0][0], 120)
    eventually(meters.is_forwarded, 120)

    runs = live.sql("select count(*) from run where tenant_id = %s", meters.tenant_id)[0][0] - before
    assert runs == CHATS
    grown = {feature: total - ledger.get(feature, 0) for feature, total in meters.ledger().items()}
    assert grown["messages"] == CHATS
    told = {feature: total - received.get(feature, 0) for feature, total in meters.received().items()}
    assert Counter(told) == Counter(grown)  # meters also show features that nobody has used
    assert meters.counted() == meters.ledger()
