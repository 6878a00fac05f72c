"""What tenants may begin: reservations in Redis, and what Postgres decides where Redis is away or has forgotten."""

from datetime import timedelta
from threading import Thread

import pytest
import redis

from models.auth.tenants import Tenant
from models.billing import quotas
from models.billing.quotas import INDEXING_RUN, RUN, Guard
from models.billing.usage_limits import NoUsagePolicy, SubscriptionInactive, UsageLimitExceeded
from models.conversations import asking
from models.platform.clock import now
from models.platform.database import database, release, transaction
from models.platform.errors import Conflict
from models.platform.ids import uuid7
from models.platform.principal import Principal, scopes_for
from models.platform.redis import redis_client
from models.runs import holds, progress, usage
from models.runs.run import FAILED, INDEXING, Run
from tests.support.crowd import crowd


@pytest.fixture
def start(person):
    """start() -> a run that the guard has let begin."""
    principal = person()

    def make():
        guard = Guard(principal.tenant_id, uuid7(), RUN)
        question = asking.Question("Hello", "triage", None, {}, None)
        return guard.begin(lambda: asking.ask(principal, question, guard)[0])

    return make


@pytest.fixture
def redis_away(monkeypatch):
    """redis_away(True) takes Redis away from the guard, redis_away(False) brings it back."""
    working = holds.fast_redis_client

    class Away:
        def eval(self, *_):
            raise redis.ConnectionError("away")

    def switch(away):
        monkeypatch.setattr(holds, "_away_until", 0.0)
        monkeypatch.setattr(holds, "fast_redis_client", Away if away else working)

    yield switch
    monkeypatch.setattr(holds, "_away_until", 0.0)


def end(run, used=None):
    with transaction():
        Run.close(run.id, FAILED, "internal_error", "It failed.")
        usage.record(run.tenant_id, run.id, used or {})
    progress.writer.send([]).wait()  # what was sent before has been done then


def attempt(start):
    try:
        return start()
    except UsageLimitExceeded:
        return None


def begun(runs):
    return len([run for run in runs if run])


def test_a_run_reserves_before_it_exists_and_a_failed_one_frees_its_place(tenant, limited, start):
    limited("messages", hard=2)
    first, _ = start(), start()
    with pytest.raises(UsageLimitExceeded) as refused:
        start()
    detail = refused.value.details
    assert (detail["feature_key"], detail["limit_type"], detail["limit_value"], detail["usage"]) == (
        "messages", "hard_limit", 2, 2,
    )  # fmt: skip
    assert 0 < int(refused.value.headers["Retry-After"]) <= 31 * 86_400
    end(first)
    start()
    assert attempt(start) is None


def test_all_breaches_are_told(tenant, limited, start):
    limited("messages", hard=0)
    limited("output_tokens", hard=5)
    with transaction():
        usage.record(tenant.id, uuid7(), {"output_tokens": 6})
    with pytest.raises(UsageLimitExceeded) as refused:
        start()
    breaches = [(one["feature_key"], one["usage"], one["unit"]) for one in refused.value.details["breaches"]]
    assert breaches == [("messages", 0, "units"), ("output_tokens", 6, "units")]
    assert Run.select().count() == 0


def test_a_soft_limit_warns_or_refuses_as_the_setting_says(tenant, limited, configure, person):
    limited("messages", soft=0, hard=10)
    guard = Guard(tenant.id, uuid7(), RUN)
    guard.begin(guard.reserve)
    assert [(one.feature, one.used, one.soft, one.hard) for one in guard.warned] == [("messages", 0, 0, 10)]
    configure(usage_guardrail_soft_limit_mode="block")
    guard = Guard(tenant.id, uuid7(), RUN)
    with pytest.raises(UsageLimitExceeded) as refused:
        guard.begin(guard.reserve)
    assert refused.value.details["limit_type"] == "soft_limit"


def test_a_begin_that_fails_holds_nothing(tenant, limited, start):
    limited("messages", hard=1)
    guard = Guard(tenant.id, uuid7(), RUN)

    def fail(error):
        def change():
            guard.reserve()
            raise error

        return change

    for error in (asking.ConversationBusy(), RuntimeError("a bug")):
        with pytest.raises(type(error)):
            guard.begin(fail(error))
        progress.writer.send([]).wait()
    assert start()


@pytest.mark.parametrize("seconds", [30, 0])
def test_of_a_crowd_exactly_as_many_begin_as_the_limit_says(tenant, limited, start, configure, seconds):
    """0: nothing is remembered, so Postgres decides each time."""
    configure(usage_guardrail_cache_ttl_seconds=seconds)
    limited("messages", hard=20)
    assert begun(crowd(60, lambda _: attempt(start))) == 20
    assert Run.select().count() == 20


def test_a_redis_that_forgets_lets_nobody_in_twice(tenant, limited, start):
    limited("messages", hard=20)

    def act(number):
        if number % 6 == 0:
            redis_client().delete(holds.key_of(tenant.id))
        return attempt(start)

    assert begun(crowd(60, act)) == 20


def test_runs_that_end_while_numbers_are_loaded_are_counted_once(tenant, limited, start):
    """Of 150 that want to begin, 100 do, whatever is forgotten while they end."""
    limited("messages", hard=100)

    def act(number):
        begun = 0
        for turn in range(15):
            if (number + turn) % 3 == 0:
                redis_client().delete(holds.key_of(tenant.id))
            if run := attempt(start):
                begun += 1
                with transaction():
                    Run.update(state="succeeded", terminal={}, terminal_sequence=1).where(Run.id == run.id).execute()
                    usage.record(tenant.id, run.id, {"messages": 1})
                    database.after_commit(lambda run=run: holds.settle(tenant.id, run.id, {"messages": 1}))
        return begun

    assert sum(crowd(10, act)) == 100


@pytest.mark.parametrize("is_away", [False, True])
def test_who_asks_postgres_waits_for_those_that_begin_meanwhile(tenant, limited, start, redis_away, is_away):
    """One has reserved and not committed yet when Redis forgets, or cannot be reached any more."""
    limited("messages", hard=2)
    start()
    principal = Principal(None, tenant.id, "member", frozenset(scopes_for("member")), None, True)
    guard, answers = Guard(tenant.id, uuid7(), RUN), []
    other = Thread(target=lambda: (answers.append(attempt(start)), release()))

    def change():
        run, _ = asking.ask(principal, asking.Question("Hello", "triage", None, {}, None), guard)
        redis_client().flushdb()
        redis_away(is_away)
        other.start()
        other.join(0.5)
        assert not answers
        return run

    assert guard.begin(change)
    other.join(10)
    assert answers == [None]


def test_a_redis_that_restarts_with_old_data_is_not_believed(tenant, limited, start):
    limited("messages", hard=3)
    start()
    key = holds.key_of(tenant.id)
    old = redis_client().dump(key)
    start(), start()
    redis_client().restore(key, 30_000, old, replace=True)
    redis_client().hset(key, "server", "that of the process before")
    assert attempt(start) is None


def test_without_redis_postgres_decides_and_redis_learns_of_it_later(tenant, limited, start, redis_away):
    limited("messages", hard=20)
    start()
    redis_away(True)
    assert begun(crowd(30, lambda _: attempt(start))) == 19
    redis_away(False)
    assert attempt(start) is None


def test_those_who_reach_redis_and_those_who_do_not_share_one_limit(tenant, limited, start, monkeypatch):
    limited("messages", hard=20)
    start()
    working = holds.reserve

    def sometimes(*args, **options):
        if int(args[2].hex[-1], 16) % 3 == 0:
            raise holds.RedisAway
        return working(*args, **options)

    monkeypatch.setattr(holds, "reserve", sometimes)
    assert begun(crowd(60, lambda _: attempt(start))) == 19


def test_what_is_used_counts_at_once(tenant, limited, start):
    limited("input_tokens", hard=100)
    run = start()
    end(run, {"input_tokens": 100})
    redis_client().delete(holds.key_of(tenant.id))
    assert attempt(start) is None


def test_a_repeated_reservation_of_a_holder_is_the_same(tenant, limited):
    limited("messages", hard=1)
    holder = uuid7()
    for _ in range(3):
        guard = Guard(tenant.id, holder, RUN)
        guard.begin(guard.reserve)


def test_other_work_reserves_amounts_and_levels(tenant, limited, configure):
    limited("storage.bytes", hard=1000, is_metered=False)

    def reserve(quantity):
        guard = Guard(tenant.id, uuid7(), {"storage.bytes": quantity}, is_run=False)
        guard.begin(guard.reserve)
        return guard.holder

    first = reserve(600)
    with pytest.raises(UsageLimitExceeded) as refused:
        reserve(401)
    assert refused.value.details["window_end"] is None
    redis_client().delete(holds.key_of(tenant.id))
    with pytest.raises(UsageLimitExceeded):
        reserve(401)
    for _ in range(2):
        with transaction():
            quotas.settle(tenant.id, first, {"storage.bytes": 500})
    progress.writer.send([]).wait()
    reserve(500)
    with pytest.raises(UsageLimitExceeded):
        reserve(1)


def test_a_run_that_indexes_a_file_holds_no_message(tenant, limited, start, person):
    # given
    limited("messages", hard=2)
    principal = person()
    for _ in range(3):
        Run.create(
            tenant_id=tenant.id, user_id=principal.user_id, kind=INDEXING, agent=INDEXING, conversation_key="file"
        )
    holds.forget(tenant.id)  # so that Postgres is asked what is held
    # then
    assert begun([attempt(start) for _ in range(3)]) == 2


def test_a_run_that_indexes_is_refused_once_the_tokens_are_used_and_counts_its_own_once(tenant, limited, person):
    # given
    limited("embedding_tokens", hard=100)
    principal = person()
    guard = Guard(tenant.id, uuid7(), INDEXING_RUN)

    def begin():
        guard.reserve()
        return Run.create(
            id=guard.holder,
            tenant_id=tenant.id,
            user_id=principal.user_id,
            kind=INDEXING,
            agent=INDEXING,
            conversation_key="file",
        )

    run = guard.begin(begin)
    # when
    with transaction():
        Run.update(usage={"embedding_tokens": 100}).where(Run.id == run.id).execute()
    end(run)
    end(run)
    # then
    entries = database.execute_sql("select feature, sum(quantity) from usage_entry group by 1").fetchall()
    assert entries == [("embedding_tokens", 100)]
    guard = Guard(tenant.id, uuid7(), INDEXING_RUN)
    with pytest.raises(UsageLimitExceeded):
        guard.begin(guard.reserve)


def test_other_tenants_and_other_months_do_not_count(tenant, limited, start):
    limited("messages", hard=1)
    other = Tenant.create(slug="other", name="Other", plan="small")
    with transaction():
        usage.record(other.id, uuid7(), {"messages": 1})
        usage.record(tenant.id, uuid7(), {"messages": 1})
        for table in ("usage_entry", "usage_tail"):
            database.execute_sql(
                f"update {table} set used_at = now() - interval '32 days' where tenant_id = %s", (tenant.id,)
            )
    start()
    assert attempt(start) is None


def test_a_tenant_without_a_plan_and_an_installation_without_guardrails_have_no_limits(
    tenant, limited, start, configure
):
    limited("messages", hard=0)
    database.execute_sql("update tenant set plan_code = null")
    start()
    database.execute_sql("update tenant set plan_code = 'small'")
    assert attempt(start) is None
    configure(enable_usage_guardrails=False)
    start()


# ------------------------------------------------------------- with billing


def test_a_tenant_without_a_subscription_is_told_to_start_one(subscribed, start):
    with pytest.raises(NoUsagePolicy) as refused:
        start()
    assert (refused.value.status, refused.value.details["code"]) == (402, "usage_policy_configuration_error")


@pytest.mark.parametrize("status", ["canceled", "incomplete", "incomplete_expired", "unpaid", "paused", "unheard_of"])
def test_a_subscription_that_is_not_live_lets_nothing_begin(subscribed, start, status):
    subscribed(status)
    with pytest.raises(SubscriptionInactive) as refused:
        start()
    assert refused.value.details["subscription_status"] == status
    assert Run.select().count() == 0


def test_past_due_has_its_days_of_grace(subscribed, start):
    subscribed("past_due", past_due_since=now() - timedelta(days=6))
    start()
    subscribed("past_due", past_due_since=now() - timedelta(days=8))
    with pytest.raises(SubscriptionInactive):
        start()


def test_a_cancellation_takes_effect_at_its_time_whether_or_not_it_was_confirmed(subscribed, start):
    subscribed("active", cancel_at=now() + timedelta(days=1))
    start()
    subscribed("active", cancel_at=now() - timedelta(seconds=1))
    with pytest.raises(SubscriptionInactive):
        start()


def test_a_changed_subscription_counts_at_once_and_a_late_renewal_opens_a_new_window(subscribed, limited, start):
    limited("messages", hard=1)
    subscribed()
    start()
    assert attempt(start) is None
    subscribed(current_period_start=now() - timedelta(days=31), current_period_end=now() - timedelta(seconds=1))
    assert attempt(start) is None  # the first run is still under way
    end(Run.select().get())
    start()
    database.execute_sql("update run set state = 'succeeded', terminal = '{}', terminal_sequence = 1")
    with transaction():
        usage.record(Run.select().get().tenant_id, uuid7(), {"messages": 1})
    redis_client().flushdb()
    assert attempt(start) is None


def test_who_fails_to_begin_what_is_under_way_already_does_not_free_its_place(tenant, limited, start):
    limited("messages", hard=1)
    run = start()
    guard = Guard(tenant.id, run.id, RUN)  # such as of a retry

    def change():
        guard.reserve()
        raise Conflict("It has not failed.")

    with pytest.raises(Conflict):
        guard.begin(change)
    assert attempt(start) is None
    end(run)
    assert attempt(start)
