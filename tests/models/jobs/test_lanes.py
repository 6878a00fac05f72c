"""A tenant's share of the workers: the jobs beyond it wait in the ledger, in order, and none is forgotten."""

import random
import threading
from uuid import UUID, uuid4

import dramatiq
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.auth.tenants import Tenant
from models.jobs import lanes
from models.jobs.lanes import Lane
from models.jobs.ledger import Job
from models.platform.database import database, release, transaction
from models.platform.redis import fast_redis_client
from workers import jobs, runtime
from workers.broker import broker
from workers.jobs import JobKind

KIND = JobKind("noop", queue="housekeeping", retries=1)
QUEUE = KIND.queue


@pytest.fixture(autouse=True)
def two_places(clean, configure):
    configure(tenant_jobs_at_once=2)
    lanes._share.cache_clear()
    yield
    lanes._share.cache_clear()


@pytest.fixture
def tenants(clean):
    return [Tenant.create(slug=slug, name=slug) for slug in ("one", "two", "three")]


def enqueue(tenant, count):
    added = []
    for _ in range(count):
        with transaction():
            added.append(jobs.enqueue(KIND, tenant_id=tenant.id if tenant else None).id)
    return added


def sent():
    """The ids of the jobs that the broker holds, the next one first."""
    encoded = broker.client.lrange(f"jobs:{QUEUE}", 0, -1)
    return [UUID(dramatiq.Message.decode(message).args[0]) for message in encoded]


def take():
    """The id of the next job that the broker hands out, or None."""
    encoded = broker.client.lpop(f"jobs:{QUEUE}")
    return dramatiq.Message.decode(encoded).args[0] if encoded else None


def perform(job_id, function=lambda lease: None):
    runtime.execute(KIND, function, job_id)


def waiting():
    return {job.id for job in Job.select().where(Job.sent_at.is_null())}


def test_jobs_beyond_the_share_wait_in_the_ledger(tenants):
    ids = enqueue(tenants[0], 5)
    assert sent() == ids[:2]
    assert waiting() == set(ids[2:])


def test_a_tenant_with_many_jobs_does_not_delay_another(tenants):
    enqueue(tenants[0], 50)
    [other] = enqueue(tenants[1], 1)
    assert sent().index(other) == 2


def test_jobs_without_a_tenant_are_always_sent(tenants):
    enqueue(tenants[0], 5)
    ids = enqueue(None, 5)
    assert sent()[2:] == ids


def test_the_end_of_a_job_sends_the_one_that_waited_longest(tenants):
    ids = enqueue(tenants[0], 4)
    done = []
    while job_id := take():
        perform(job_id)
        done.append(job_id)
    assert done == [str(job_id) for job_id in ids]
    assert Job.select().where(Job.state == "succeeded").count() == 4
    assert fast_redis_client().keys("lane*") == []


def test_a_job_that_waits_for_its_retry_gives_its_place_to_another(tenants):
    ids = enqueue(tenants[0], 3)

    def fail(lease):
        raise RuntimeError("broken")

    perform(take(), fail)
    assert sent() == ids[1:]


def test_a_job_that_goes_back_at_shutdown_keeps_its_place(tenants):
    ids = enqueue(tenants[0], 3)

    def stop(lease):
        raise runtime.Shutdown()

    perform(take(), stop)
    assert sent() == [ids[1], ids[0]]
    assert waiting() == {ids[2]}


def test_a_worker_that_lost_its_job_does_not_give_the_place_away(tenants):
    ids = enqueue(tenants[0], 3)

    def lose(lease):
        Job.update(epoch=Job.epoch + 1).where(Job.id == lease.job.id).execute()

    perform(take(), lose)
    assert sent() == [ids[1]]


def test_a_job_that_was_cancelled_before_it_ran_frees_its_place_within_a_tick(tenants):
    ids = enqueue(tenants[0], 3)
    Job.cancel(ids[0])
    assert jobs.take_turns() == 1
    assert sent() == ids


def test_the_places_of_a_dead_worker_are_freed_when_its_jobs_have_ended(tenants):
    ids = enqueue(tenants[0], 4)
    for _ in range(2):
        Job.claim(take(), "dead", 10)
    assert jobs.take_turns() == 0
    Job.update(state="dead", lease_until=None).where(Job.id.in_(ids[:2])).execute()
    assert jobs.take_turns() == 2
    assert sent() == ids[2:]


def test_a_recovered_job_is_sent_again_in_its_own_place(tenants):
    ids = enqueue(tenants[0], 3)
    Job.claim(take(), "dead", -1)
    take()
    Job.update(lease_until="2020-01-01").where(Job.id == ids[0]).execute()
    recovered = [Job.get_by_id(ids[0])]
    assert jobs.send(recovered) == 1
    assert sent() == [ids[0]]


def test_a_redis_that_lost_everything_sends_the_waiting_jobs_again(tenants):
    ids = enqueue(tenants[0], 5)
    fast_redis_client().flushdb()
    broker.client.flushdb()
    assert jobs.take_turns() == 2
    assert sent() == ids[2:4]


def test_a_job_that_could_not_be_sent_is_not_lost(tenants, monkeypatch):
    def refuse(*args):
        raise redis.ConnectionError("away")

    monkeypatch.setattr(lanes, "_run", refuse)
    [job_id] = enqueue(tenants[0], 1)
    monkeypatch.undo()
    assert sent() == []
    Job.update(sent_at="2020-01-01").where(Job.id == job_id).execute()
    assert jobs.resend_unclaimed() == 1
    assert sent() == [job_id]


def test_a_tenant_can_have_a_share_of_its_own(tenants):
    lanes.set_share(tenants[0].id, 4)
    lanes.set_share(tenants[1].id, 1)
    heavy, light = enqueue(tenants[0], 6), enqueue(tenants[1], 6)
    assert sent() == [*heavy[:4], light[0]]


def test_a_plan_has_a_share_which_a_tenants_own_one_replaces(tenants):
    database.execute_sql("update plan set jobs_at_once = 3 where code = 'pro'")
    database.execute_sql("update tenant set plan_code = 'pro'")
    lanes.set_share(tenants[1].id, 1)
    lanes.set_share(tenants[2].id, 1)
    assert lanes.clear_share(tenants[2].id) and not lanes.clear_share(tenants[2].id)
    try:
        ids = [enqueue(tenant, 6) for tenant in tenants]
        assert sent() == [*ids[0][:3], ids[1][0], *ids[2][:3]]
    finally:
        database.execute_sql("update plan set jobs_at_once = null")


def test_without_a_limit_everything_is_sent_also_what_waited(tenants, configure):
    ids = enqueue(tenants[0], 4)
    configure(tenant_jobs_at_once=0)
    ids += enqueue(tenants[0], 2)
    assert jobs.take_turns() == 2
    assert sorted(sent()) == sorted(ids)


def test_every_queue_has_lanes_of_its_own(tenants):
    enqueue(tenants[0], 2)
    with transaction():
        jobs.enqueue(JobKind("noop", queue="mail"), tenant_id=tenants[0].id)
    assert broker.backlog("mail") == 1


def test_all_lanes_with_waiting_jobs_are_found(tenants):
    for tenant in tenants:
        enqueue(tenant, 3)
    rows = database.execute_prepared(lanes.WAITING_LANES, {}).fetchall()
    assert {row[1] for row in rows} == {tenant.id for tenant in tenants}
    assert len(rows) == 3


def test_no_more_than_the_share_is_admitted_by_many_senders_at_once(tenants):
    lane, results = Lane(QUEUE, tenants[0].id), []

    def enter():
        results.extend(lane.enter([uuid4()]))
        release()

    threads = [threading.Thread(target=enter) for _ in range(40)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sum(results) == 2


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    plan=st.lists(st.sampled_from(["add", "do", "fail", "crash", "cancel", "tick", "forget"]), max_size=40),
    seed=st.integers(),
)
def test_whatever_happens_no_job_is_forgotten_and_no_share_exceeded(tenants, plan, seed):
    chance = random.Random(seed)
    database.execute_sql("truncate job")
    fast_redis_client().flushdb()
    broker.client.flushdb()

    def fail(lease):
        raise RuntimeError("broken")

    for step in plan:
        if step == "add":
            enqueue(chance.choice(tenants), 1)
        elif step in ("do", "fail") and (job_id := take()):
            perform(job_id, fail if step == "fail" else lambda lease: None)
        elif step == "crash":
            take()  # the message is gone, and the job was not claimed
        elif step == "cancel" and (queued := list(Job.select().where(Job.state == "queued"))):
            Job.cancel(chance.choice(queued).id)
        elif step == "tick":
            jobs.take_turns()
        elif step == "forget":
            fast_redis_client().delete(*(fast_redis_client().keys("lane*") or ["none"]))
        if "forget" not in plan:
            for tenant in tenants:
                assert fast_redis_client().scard(Lane(QUEUE, tenant.id).key) <= 2
    for _ in range(200):
        Job.update(due_at="2020-01-01", sent_at="2020-01-01").where(
            (Job.state == "queued") & Job.sent_at.is_null(False)
        ).execute()
        broker.client.flushdb()
        jobs.take_turns()
        jobs.resend_unclaimed()
        while job_id := take():
            perform(job_id)
        if not Job.select().where(Job.state.in_(["queued", "running"])).exists():
            break
    assert not Job.select().where(Job.state.in_(["queued", "running"])).exists()
