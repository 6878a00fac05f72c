"""The numbers of a tenant's events, our own acts, and their way to Redis."""

import json

import pytest

from models.platform.redis import redis_client
from tests.support.crowd import crowd
from tests.support.stripe_events import record


@pytest.fixture(autouse=True)
def stream(configure, clean):
    configure(enable_billing_stream=True)


def entries(tenant):
    from models.billing import events

    rows = redis_client().xrange(events.stream_key(tenant.id))
    return [(entry_id.decode(), json.loads(fields[b"e"])) for entry_id, fields in rows]


def test_numbers_begin_at_one_and_belong_to_a_tenant(tenant):
    from models.auth.tenants import Tenant

    other = Tenant.create(slug="other", name="Other")
    assert [record(tenant), record(tenant), record(other)] == [1, 2, 1]


def test_an_act_is_kept_and_published_in_the_same_words(tenant):
    from models.billing.events import InboxEvent, as_sent

    record(tenant, "longshore.subscription.started", status="trialing", summary="Started")
    row = InboxEvent.get(InboxEvent.tenant_id == tenant.id)
    assert (row.source, row.state, row.due_at, row.position) == ("longshore", "processed", None, 1)
    assert row.external_id == row.event["stripe_event_id"] == f"lsh_{row.id.hex}"
    [(entry_id, sent)] = entries(tenant)
    assert entry_id == "1-0" and sent == as_sent(1, row.event)
    assert (sent["position"], sent["event_type"], sent["summary"]) == (1, "longshore.subscription.started", "Started")


def test_nothing_is_kept_numbered_or_published_if_the_transaction_fails(tenant):
    from models.billing import events
    from models.platform.database import transaction

    with pytest.raises(ZeroDivisionError), transaction():
        events.record(tenant.id, "longshore.test")
        raise ZeroDivisionError
    assert (entries(tenant), events.InboxEvent.select().count()) == ([], 0)
    assert record(tenant) == 1, "the number was given back"


def test_an_act_outside_a_transaction_is_refused(tenant):
    from models.billing import events
    from models.platform.database import NoTransaction

    with pytest.raises(NoTransaction):
        events.record(tenant.id, "longshore.test")


def test_numbers_have_no_gap_under_a_crowd(tenant):
    from models.billing import events

    numbers = crowd(6, lambda _: [record(tenant) for _ in range(10)])
    assert sorted(number for own in numbers for number in own) == list(range(1, 61))
    assert [position for position, _, _ in events.after(tenant.id, 0, 100)] == list(range(1, 61))


def test_what_came_too_late_for_redis_is_still_in_postgres(tenant):
    from models.billing import events

    record(tenant)
    events.publish(tenant.id, [(5, events.after(tenant.id, 0, 1)[0][2])])
    record(tenant)  # number 2: Redis refuses it
    assert [entry_id for entry_id, _ in entries(tenant)] == ["1-0", "5-0"]
    assert [position for position, _, _ in events.after(tenant.id, 1, 10)] == [2]


def test_publishing_never_raises(tenant, configure):
    configure(redis_url="redis://127.0.0.1:1/0")
    assert record(tenant) == 1


def test_the_stream_is_bounded_and_expires(tenant):
    from models.billing import events

    record(tenant)
    event = events.after(tenant.id, 0, 1)[0][2]
    events.publish(tenant.id, [(number, event) for number in range(2, 1101)])
    key = events.stream_key(tenant.id)
    assert redis_client().xlen(key) == 1024
    assert 86_000 < redis_client().ttl(key) <= 86_400


def test_without_streams_nothing_is_published(tenant, configure):
    configure(enable_billing_stream=False)
    record(tenant)
    assert entries(tenant) == []


def test_where_a_stream_begins(tenant):
    from models.billing import events
    from models.platform.database import database

    assert events.newest(tenant.id, 20) == (0, 0)
    for _ in range(5):
        record(tenant)
    assert events.newest(tenant.id, 20) == (5, 0)
    assert events.newest(tenant.id, 2) == (5, 3)
    database.execute_sql("update inbox_event set processed_at = now() - interval '25 hours' where position <= 4")
    assert events.newest(tenant.id, 20) == (5, 4)
    database.execute_sql("update inbox_event set processed_at = now() - interval '25 hours'")
    assert events.newest(tenant.id, 20) == (5, 5)
    assert events.positions([tenant.id]) == {tenant.id: 5}


def test_text_that_postgres_cannot_store_is_replaced(tenant):
    from models.billing import events

    record(tenant, summary="a\0b\ud800")
    assert events.after(tenant.id, 0, 1)[0][2]["summary"] == "a\ufffdb\ufffd"
