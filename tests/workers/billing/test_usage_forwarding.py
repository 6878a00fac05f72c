"""Usage on its way to Stripe's meters: once, whatever happens on the way. Stripe is the stand-in, over HTTP."""

import time
from datetime import timedelta

import pytest

from models.billing import counters, usage_batches
from models.billing.usage_windows import month
from models.jobs.ledger import Job
from models.platform.clock import now
from models.platform.database import database, transaction
from models.platform.ids import uuid7
from models.runs import usage
from tests.support.billing import Account
from tests.support.crowd import crowd
from tests.support.stripe import settings_of
from workers import main
from workers.billing import meters
from workers.gateways.stripe import call
from workers.jobs import USAGE_FOLD, USAGE_FORWARD, enqueue


@pytest.fixture(scope="session")
def meter(stripe_part):
    """(id, event name) of the meter of messages at Stripe."""
    from models.platform.settings import settings

    name = f"messages_{uuid7().hex}"
    with settings.override(**settings_of(stripe_part)):
        params = {"display_name": "Messages", "event_name": name, "default_aggregation": {"formula": "sum"}}
        return call("meters.create", lambda stripe: stripe.v1.billing.meters.create(params))["id"], name


@pytest.fixture
def standin(stripe_part):
    found = Account(stripe_part.url)
    yield found
    found.tell("fault", clear=True)


@pytest.fixture
def customer(tenant, subscribed, meter, stripe_part, configure):
    """The id of the tenant's customer at Stripe; it has a subscription of a plan with a meter of messages, and no other."""
    configure(**settings_of(stripe_part))
    subscribed()
    others = database.execute_sql("delete from stripe_meter returning feature, event_name, stripe_meter_id").fetchall()
    put_meter("messages", meter[1], meter[0])
    found = call("customers.create", lambda stripe: stripe.v1.customers.create({"email": "a@example.com"}))["id"]
    database.execute_sql(
        "insert into billing_customer (tenant_id, stripe_customer_id) values (%s, %s)", (tenant.id, found)
    )
    yield found
    database.execute_sql("delete from stripe_meter")
    for row in others:
        put_meter(*row)


def put_meter(*row):
    database.execute_sql("insert into stripe_meter (feature, event_name, stripe_meter_id) values (%s, %s, %s)", row)


def record(tenant, messages=1, source=None, used_at=None):
    with transaction():
        usage.record_source(tenant.id, source or f"test:{uuid7()}", {"messages": messages, "input_tokens": 7})
        if used_at:
            for table in ("usage_entry", "usage_tail"):
                database.execute_sql(
                    f"update {table} set used_at = %s where used_at > %s", (used_at, now() - timedelta(seconds=9))
                )


def do(kind):
    with transaction():
        job = enqueue(kind)
    main.broker.get_actor(kind.name).fn(str(job.id))
    assert Job.get_by_id(job.id).state == "succeeded"


def forward():
    """What the cron line and the job that follows do. A batch that waits for its next attempt is due at once."""
    do(USAGE_FOLD)
    database.execute_sql("update usage_batch set due_at = now() where state = 'sealed'")
    do(USAGE_FORWARD)


def at_stripe(meter, customer, at=None):
    at = (at or now()).replace(minute=0, second=0, microsecond=0)
    return meters.summed(meter[0], customer, at - timedelta(hours=1), at + timedelta(hours=2))


def states(column="count(*)"):
    return dict(database.execute_sql(f"select state, {column} from usage_batch group by state").fetchall())


def test_what_was_counted_reaches_the_meter_once(tenant, customer, meter):
    for _ in range(3):
        record(tenant, 2)
    for _ in range(2):
        forward()
    assert at_stripe(meter, customer) == 6 and states("sum(quantity)") == {"sent": 6}
    record(tenant, 1)
    forward()
    assert at_stripe(meter, customer) == 7 and usage_batches.oldest_seconds() == 0


def test_a_correction_is_forwarded_too_and_what_adds_up_to_nothing_is_not(tenant, customer, meter):
    record(tenant, 5)
    forward()
    with transaction():
        database.execute_sql(
            """insert into usage_tail (tenant_id, feature, used_at, quantity)
               values (%s, 'messages', now(), -2), (%s, 'messages', now(), 3), (%s, 'messages', now(), -3)""",
            (tenant.id,) * 3,
        )
    forward()
    assert at_stripe(meter, customer) == 3
    with transaction():
        database.execute_sql(
            "insert into usage_tail (tenant_id, feature, used_at, quantity) values (%s, 'messages', now(), 3), (%s, 'messages', now(), -3)",
            (tenant.id,) * 2,
        )
    forward()
    assert at_stripe(meter, customer) == 3 and states() == {"sent": 2}


@pytest.mark.parametrize("kind", ["lost", "status", "timeout"])
def test_a_lost_answer_never_counts_twice(tenant, customer, meter, standin, kind, configure):
    configure(stripe_timeout_seconds=0.5)
    record(tenant, 4)
    standin.fault("POST /v1/billing/meter_events", kind=kind, status=503, seconds=1, times=4)
    forward()
    assert states() == {"sent" if kind == "lost" else "sealed": 1}  # the library repeats a lost call with its key
    standin.tell("fault", clear=True)
    forward()
    assert at_stripe(meter, customer) == 4 and states() == {"sent": 1}


def test_stripe_may_be_away_and_folding_goes_on(tenant, customer, meter, configure):
    record(tenant, 4)
    with_stripe = {"stripe_api_base": "http://127.0.0.1:9"}
    configure(**with_stripe)
    for _ in range(2):
        record(tenant, 1)
        forward()
    assert counters.totals(tenant.id, month(now()))["messages"] == 6
    assert set(states()) == {"sealed"}
    assert usage_batches.oldest_seconds() > 0


@pytest.mark.parametrize("has_arrived", [True, False])
def test_after_a_day_stripe_is_asked_whether_a_batch_has_arrived(tenant, customer, meter, has_arrived):
    record(tenant, 4)
    forward()
    record(tenant, 3)
    do(USAGE_FOLD)
    with transaction():
        [batch] = usage_batches.claim(9)
    if has_arrived:
        meters.send(batch)
    database.execute_sql("update usage_batch set first_sent_at = now() - interval '26 hours' where state = 'sealed'")
    for _ in range(2):
        forward()
    assert at_stripe(meter, customer) == 7 and states() == {"sent": 2}


def test_what_stripe_cannot_tell_is_parked_and_an_operator_may_send_it(tenant, customer, meter):
    record(tenant, 4)
    do(USAGE_FOLD)
    with transaction():
        [batch] = usage_batches.claim(9)
    stranger = batch._replace(id=uuid7(), quantity=1)
    meters.send(stranger)
    database.execute_sql("update usage_batch set first_sent_at = now() - interval '26 hours'")
    forward()
    assert states() == {"sealed": 1}
    database.execute_sql("update usage_batch set first_sent_at = now() - interval '4 days'")
    forward()
    [(parked, error)] = usage_batches.parked()
    assert parked.id == batch.id and "does not tell" in error
    assert usage_batches.resume(batch.id)
    forward()
    assert at_stripe(meter, customer) == 5 and not usage_batches.resume(batch.id)


def test_a_pause_never_ends_in_the_time_in_which_nothing_is_sure():
    at = now()
    first = at - timedelta(hours=22, minutes=55)
    batch = usage_batches.Batch(uuid7(), uuid7(), "messages", at, 1, at, "e", "c", 1, first_sent_at=first)
    assert batch.pause(at) == usage_batches.FIRST_PAUSE
    late = batch._replace(attempts=20)
    assert at + late.pause(at) == first + usage_batches.ASK_AFTER and not late.is_sure(at + late.pause(at))


def test_what_stripe_refuses_for_good_is_parked(tenant, customer, meter):
    record(tenant, 4, used_at=now() - timedelta(days=40))
    database.execute_sql("update billing_customer set stripe_customer_id = 'cus_gone'")
    record(tenant, 1)
    forward()
    assert states() == {"parked": 2}
    assert {error.split(":")[0] for _, error in usage_batches.parked()} <= {
        "provider_rejected",
        "provider_resource_missing",
    }


def test_usage_of_a_tenant_that_stripe_does_not_know_waits(tenant, customer, meter):
    database.execute_sql("update billing_customer set stripe_customer_id = null")
    record(tenant, 4)
    forward()
    assert states() == {"open": 1} and usage_batches.oldest_seconds() == 0
    database.execute_sql("update billing_customer set stripe_customer_id = %s", (customer,))
    forward()
    assert at_stripe(meter, customer) == 4


def test_usage_without_a_subscription_or_a_meter_is_not_forwarded(tenant, customer, meter):
    database.execute_sql("delete from subscription")
    record(tenant, 4)
    do(USAGE_FOLD)
    assert states() == {}


def test_usage_of_two_periods_is_told_apart_within_an_hour(tenant, customer, meter, subscribed):
    at = now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=5)
    subscribed(current_period_start=at - timedelta(days=30), current_period_end=at + timedelta(minutes=30))
    for minute, messages in ((10, 1), (29, 2), (30, 4), (50, 8)):
        record(tenant, messages, used_at=at + timedelta(minutes=minute))
    forward()
    end = at + timedelta(minutes=30)
    told = [meters.summed(meter[0], customer, *bounds) for bounds in ((at, end), (end, at + timedelta(hours=1)))]
    assert told == [3, 12]


def test_what_was_sent_long_ago_is_purged_and_nothing_else(tenant, customer, meter):
    for _ in range(2):
        record(tenant, 1)
        forward()
    record(tenant, 1)
    do(USAGE_FOLD)
    database.execute_sql(
        "update usage_batch set sent_at = now() - interval '41 days' where id = (select id from usage_batch where state = 'sent' limit 1)"
    )
    assert (usage_batches.purge(40), usage_batches.purge(40)) == (1, 0)
    assert states() == {"sent": 1, "sealed": 1}


def test_several_forwarders_share_the_work(tenant, customer, meter):
    at = now().replace(minute=0, second=0, microsecond=0)
    for hour in range(30):
        record(tenant, 2, used_at=at - timedelta(hours=hour))
    do(USAGE_FOLD)
    Job.delete().execute()
    crowd(3, lambda _: do(USAGE_FORWARD))
    assert states() == {"sent": 30}
    assert meters.summed(meter[0], customer, at - timedelta(hours=40), at + timedelta(hours=2)) == 60


def test_a_worker_that_dies_on_the_way_leaves_its_batches_to_others(tenant, customer, meter):
    record(tenant, 2)
    do(USAGE_FOLD)
    with transaction():
        [batch] = usage_batches.claim(9)
    meters.send(batch)
    do(USAGE_FORWARD)
    assert states() == {"sealed": 1}  # the other one may still be at work
    forward()
    assert at_stripe(meter, customer) == 2 and states() == {"sent": 1}


def test_nothing_is_lost_between_folding_and_sealing(tenant, customer, meter):
    """Eight threads count, fold and forward at once."""
    stop = time.monotonic() + 3

    def act(number):
        done = 0
        while time.monotonic() < stop:
            if number < 5:
                record(tenant, 1)
                done += 1
            elif number == 5:
                do(USAGE_FOLD)
            else:
                do(USAGE_FORWARD)
        return done

    counted = sum(crowd(8, act))
    forward()
    assert at_stripe(meter, customer) == counted == counters.totals(tenant.id, month(now()))["messages"]
