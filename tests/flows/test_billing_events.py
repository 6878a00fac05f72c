"""Stripe's events, told in the worst way to processes that are killed, end in the rows of the same events in order.

Five hundred events; BILLING_CAMPAIGN=10000 sets another number.
"""

import json
import logging
import os
import random
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.support import billing_campaign
from tests.support.billing_histories import rows
from tests.support.stripe_webhooks import signed

log = logging.getLogger(__name__)
EVENTS = int(os.environ.get("BILLING_CAMPAIGN", "500"))
TENANTS = 25
SENDERS, SEED, KILLS = 12, 11, max(6, EVENTS // 400)
PLANS = ("starter", "pro")
# Of a fifth of the events, the first attempt fails at its end: all that it has written has to be undone.
FAILURES = """
create function campaign_failure() returns trigger as $$ begin raise exception 'the first attempt fails'; end $$ language plpgsql;
create trigger campaign_failure before update on inbox_event for each row
    when (new.state = 'processed' and old.attempts = 0 and abs(hashtext(old.external_id)) %% 5 = 0)
    execute function campaign_failure()"""
NO_FAILURES = "drop trigger campaign_failure on inbox_event; drop function campaign_failure()"
SEAT_PRICES = (
    "select plan_code, stripe_price_id from stripe_price where feature = '' and is_current and plan_code = any(%s)"
)
ADD_PRICE = "insert into stripe_price values (%s, '', 'prod_campaign', %s) on conflict do nothing"
ADD_TENANT = "insert into tenant (id, slug, name) values (%s, %s, 'Campaign') on conflict do nothing"
LEFT = "select count(*) from inbox_event where external_id like 'evt\\_______\\_%%\\_%%' and state <> 'processed'"
STORED = "select external_id, attempts, position, event from inbox_event where tenant_id = %s order by external_id"


@pytest.fixture
def prices(live, clean, billing):
    """Plan code -> seat price, the same in both databases."""
    from models.platform.database import database

    for plan in PLANS:
        live.sql(ADD_PRICE, plan, f"price_campaign_{plan}")
    found = dict(live.sql(SEAT_PRICES, list(PLANS)))
    for plan, price in found.items():
        database.execute_sql(ADD_PRICE, (plan, price))
    yield found
    database.execute_sql("delete from stripe_price")
    live.sql("delete from stripe_price where stripe_product_id = 'prod_campaign'")


@pytest.fixture
def told(live, prices):
    """The lives of TENANTS tenants, who exist in both databases. What was stored of them is gone afterwards."""
    from models.platform.database import database

    lives = billing_campaign.lives(TENANTS, EVENTS // TENANTS, prices, SEED)
    for life in lives:
        values = (str(life.tenant_id), f"campaign-{life.number}")
        live.sql(ADD_TENANT, *values)
        database.execute_sql(ADD_TENANT, values)
    live.sql(FAILURES)
    yield lives
    live.sql(NO_FAILURES)
    live.sql("delete from tenant where id = any(%s::uuid[])", [str(life.tenant_id) for life in lives])


def process_in_order(events):
    """In this process and its own database, each once."""
    from models.billing import inbox
    from models.platform.database import transaction
    from workers.billing.events import process_next

    for begin in range(0, len(events), 200):
        with transaction():
            inbox.accept([inbox.Delivery.parse(json.dumps(event).encode()) for event in events[begin : begin + 200]])
        while process_next():
            pass


def deliver(http, secret, event):
    """Until it is acknowledged, as Stripe would, if sooner."""
    while True:
        try:
            raw, headers = signed(event, secret)
            answer = http.post("/webhooks/stripe", content=raw, headers=headers)
            if answer.status_code == 202:
                return answer.json()["duplicate"]
            assert answer.status_code == 503, answer.text
        except httpx.HTTPError:
            pass
        time.sleep(0.1)


def tell_in_the_worst_way(live, events):
    """Shuffled, half of them twice, over several connections, while processes are killed. Returns what was killed."""
    chance, secret = random.Random(SEED), live.stack.env["STRIPE_WEBHOOK_SECRET"]
    deliveries = events + chance.sample(events, len(events) // 2)
    chance.shuffle(deliveries)
    with ThreadPoolExecutor(SENDERS) as pool, httpx.Client(base_url=live.url, timeout=20) as http:
        sent = [pool.submit(deliver, http, secret, event) for event in deliveries]
        kills = kill_at_random(live, chance, lambda: all(future.done() for future in sent))
        for future in sent:
            future.result()
    return kills


def kill_at_random(live, chance, has_ended):
    """Kill the edge or the workers, and start them again, KILLS times at most.

    Not in a thread of its own: processes end with the thread that has started them.
    """
    kills = []
    while len(kills) < KILLS and not has_ended():
        time.sleep(chance.uniform(0.5, 3.0))
        name = "edge" if not kills else chance.choice(["edge", "worker-jobs"])
        live.processes[name].kill()
        live.processes[name].wait()
        kills.append(name)
        live.revive()
        if name == "edge":
            live.wait_ready()
    return kills


@pytest.mark.timeout(300 + EVENTS / 10)
def test_events_shuffled_doubled_failing_and_with_kills_end_in_the_rows_of_the_events_in_order(live, told, wait_until):
    events, began = billing_campaign.in_order(told), time.monotonic()
    kills = tell_in_the_worst_way(live, events)
    accepted = time.monotonic() - began
    live.revive()
    wait_until(lambda: live.sql(LEFT) == [(0,)], 120 + EVENTS / 50)
    processed = time.monotonic() - began
    process_in_order(events)
    for life in told:
        here = {row[0]: row for row in rows_of(life)}
        there = {row[0]: row for row in live.sql(STORED, str(life.tenant_id))}
        assert len(here) == len(life.events) and here.keys() == there.keys()
        assert sorted(row[2] for row in there.values()) == list(range(1, len(there) + 1))
        assert {key: row[3] for key, row in here.items()} == {key: row[3] for key, row in there.items()}
        assert rows(life.tenant_id, live.sql) == rows(life.tenant_id)
    [(failed,)] = live.sql(
        "select count(*) from inbox_event where attempts > 1 and tenant_id = any(%s::uuid[])", ids(told)
    )
    assert failed >= len(events) // 10 and set(kills) >= {"edge"}
    figures = (len(events), len(kills), failed, accepted, processed)
    log.info("%s events, %s kills, %s failed at first: all taken after %.0f s, done after %.0f s", *figures)


def rows_of(life):
    from models.platform.database import database

    return database.execute_sql(STORED, (str(life.tenant_id),)).fetchall()


def ids(lives):
    return [str(life.tenant_id) for life in lives]
