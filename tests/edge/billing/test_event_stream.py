"""The events of a tenant's billing as a stream: in order, without loss or repetition, whatever fails."""

import gevent
import peewee
import pytest

from edge import billing_batches
from models.billing import events
from models.platform.redis import redis_client
from tests.support.stripe_events import process, receive, record

QUICK = 0.02  # seconds between two ticks


def test_a_client_gets_what_happens_and_what_came_before(hub, follow, tenant):
    record(tenant), record(tenant)
    client = follow(hub)
    record(tenant)
    process(receive(tenant))
    assert client.has([1, 2, 3, 4])


def test_a_new_client_gets_only_the_newest_of_what_came_before(hub, follow, tenant):
    for _ in range(30):
        record(tenant)
    assert follow(hub).has(range(11, 31))


def test_a_client_that_names_a_number_gets_all_that_came_later(hub, follow, tenant, monkeypatch):
    monkeypatch.setattr(billing_batches, "BATCH", 7)
    for _ in range(30):
        record(tenant)
    late, all_of_it = follow(hub, after=28), follow(hub, after=0)
    record(tenant)
    assert late.has([29, 30, 31]) and all_of_it.has(range(1, 32))


def test_a_number_that_was_not_reached_yet_counts_as_the_newest(hub, follow, tenant):
    record(tenant)
    client = follow(hub, after=9000)
    record(tenant)
    assert client.has([2])


def test_what_was_purged_is_skipped(hub, follow, tenant):
    for _ in range(5):
        record(tenant)
    events.InboxEvent.delete().where(events.InboxEvent.position <= 3).execute()
    client = follow(hub, after=1)
    record(tenant)
    assert client.has([4, 5, 6])


def test_an_event_that_redis_never_got_comes_before_the_next(hub, follow, tenant, configure):
    client = follow(hub)
    configure(enable_billing_stream=False)
    record(tenant), record(tenant)
    configure(enable_billing_stream=True)
    record(tenant)
    assert client.has([1, 2, 3])


def test_an_event_that_redis_never_got_and_nothing_follows_is_found_in_postgres(make_hub, follow, tenant, configure):
    client = follow(make_hub(tick_seconds=QUICK))
    configure(enable_billing_stream=False)
    record(tenant)
    assert client.has([1])


def test_events_that_reach_redis_in_the_wrong_order_come_in_the_right_one(hub, follow, tenant, configure):
    client = follow(hub)
    configure(enable_billing_stream=False)
    record(tenant), record(tenant), record(tenant)
    configure(enable_billing_stream=True)
    rows = events.after(tenant.id, 0, 3)
    events.publish(tenant.id, [(3, rows[2][2])])
    events.publish(tenant.id, [(1, rows[0][2])])
    assert client.has([1, 2, 3])


def test_events_go_on_while_redis_has_lost_everything(hub, follow, tenant):
    client = follow(hub)
    record(tenant)
    assert client.has([1])
    redis_client().flushdb()
    record(tenant)
    assert client.has([1, 2])


def test_a_client_that_is_too_slow_loses_nothing(make_hub, follow, tenant):
    client = follow(make_hub(mailbox=3))
    client.pause = 0.05
    for _ in range(40):
        record(tenant)
        gevent.sleep(0)
    assert client.has(range(1, 41))


def test_events_go_on_after_postgres_was_away(hub, follow, tenant, monkeypatch):
    failures, read = [peewee.OperationalError("away")] * 2, events.after

    def after(*args):
        if failures:
            raise failures.pop()
        return read(*args)

    record(tenant)
    monkeypatch.setattr(events, "after", after)
    monkeypatch.setattr(billing_batches, "RETRY_SECONDS", 0.01)
    assert follow(hub).has([1]) and failures == []


def test_streams_of_other_tenants_and_runs_stay_apart(hub, follow, tenant):
    from models.auth.tenants import Tenant

    other = Tenant.create(slug="other", name="Other")
    client = follow(hub)
    record(other)
    record(tenant)
    assert client.has([1])
    [entry] = hub.watched
    assert entry == events.stream_key(tenant.id).encode()


def test_a_hundred_clients_of_a_tenant_get_everything_once(hub, follow, tenant):
    record(tenant)
    clients = [follow(hub, after=0) for _ in range(10)]
    with gevent.Timeout(20):
        clients += [follow(hub, after=number % 2) for number in range(90)]
    for _ in range(20):
        record(tenant)
        gevent.sleep(0)
    for number, client in enumerate(clients):
        assert client.has(range(1 + (number >= 10 and (number - 10) % 2), 22))
    for client in clients:
        client.greenlet.kill()
    assert hub.watched == {}


def test_a_silent_stream_gets_heartbeats(make_hub, follow):
    client = follow(make_hub(tick_seconds=QUICK))
    gevent.sleep(1)
    assert client.batches >= 2 and client.got == []


@pytest.mark.parametrize(("after", "expected"), [(None, (10, 30)), (0, (0, 30)), (29, (29, 30)), (31, (30, 30))])
def test_where_a_client_begins(tenant, after, expected):
    for _ in range(30):
        record(tenant)
    assert billing_batches.beginning(tenant.id, after) == expected
