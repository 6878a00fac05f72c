"""The ledger of usage, its counters and its windows."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.auth.tenants import Tenant
from models.billing import counters
from models.billing.usage_windows import Interval, Window, month, period
from models.platform.clock import now
from models.platform.database import database, transaction
from models.platform.ids import uuid7
from models.runs import usage
from tests.support.crowd import crowd

TOKENS = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15, "requests": 1}
CHAT = {"messages": 1, "input_tokens": 10, "output_tokens": 5}
TIMES = st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
EVER = Window(datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))
MONTHLY = Interval("monthly", 1)


def record(tenant, run_id=None, used=CHAT, scope=""):
    with transaction():
        usage.record(tenant.id, run_id or uuid7(), used, scope)


def put(tenant, feature, quantity, used_at):
    """An entry of its own, used at this time."""
    with transaction():
        database.execute_sql(
            """with added as (insert into usage_entry (tenant_id, source, feature, quantity, used_at)
               values (%s, %s, %s, %s, %s) returning tenant_id, feature, used_at, quantity)
               insert into usage_tail (tenant_id, feature, used_at, quantity) select * from added""",
            (tenant.id, f"test:{uuid7()}", feature, quantity, used_at),
        )


def fold(limit=20_000):
    with transaction():
        return counters.fold(limit)


def entries(tenant):
    rows = database.execute_sql(
        "select feature, number, quantity from usage_entry where tenant_id = %s order by 1, 2", (tenant.id,)
    )
    return rows.fetchall()


def test_a_run_is_counted_once(tenant):
    run_id = uuid7()
    for _ in range(2):
        record(tenant, run_id)
    assert entries(tenant) == [("input_tokens", 0, 10), ("messages", 0, 1), ("output_tokens", 0, 5)]
    assert counters.totals(tenant.id, EVER) == CHAT


def test_a_run_that_has_used_more_is_corrected_by_a_further_entry(tenant):
    run_id = uuid7()
    for tokens in (10, 25, 25, 20, 26):
        record(tenant, run_id, {"input_tokens": tokens})
    assert entries(tenant) == [("input_tokens", 0, 10), ("input_tokens", 1, 15), ("input_tokens", 2, 1)]
    assert counters.totals(tenant.id, EVER) == {"input_tokens": 26}


def test_the_steps_of_a_run_are_counted_apart(tenant):
    run_id = uuid7()
    for scope in ("", "0", "1", "1"):
        record(tenant, run_id, {"input_tokens": 10}, scope)
    assert counters.totals(tenant.id, EVER) == {"input_tokens": 30}


def test_a_run_that_used_nothing_leaves_no_entry(tenant):
    record(tenant, used=usage.of_chat({}))
    assert entries(tenant) == []


def test_folding_changes_no_sum(tenant):
    for _ in range(5):
        record(tenant)
    before = counters.totals(tenant.id, month(now()))
    assert fold(limit=4) == {tenant.id: 4}
    assert counters.totals(tenant.id, month(now())) == before == {name: 5 * number for name, number in CHAT.items()}
    assert fold() == {tenant.id: 11} and fold() == {}
    assert counters.totals(tenant.id, month(now())) == before
    record(tenant)
    assert counters.totals(tenant.id, month(now()))["messages"] == 6


@pytest.mark.parametrize("folded", [False, True])
def test_a_window_may_begin_and_end_at_any_second(tenant, folded):
    start, end = datetime(2026, 3, 5, 10, 20, 30, tzinfo=UTC), datetime(2026, 4, 5, 9, 59, 59, tzinfo=UTC)
    second = timedelta(seconds=1)
    inside = [start, start + 39 * 60 * second, start.replace(minute=0, hour=11), end - second, end.replace(minute=0)]
    for number, at in enumerate(inside):
        put(tenant, "messages", 10**number, at)
    for at in (start - second, start.replace(minute=0, second=0), end, end + timedelta(hours=2)):
        put(tenant, "messages", 7_000_000, at)
    if folded:
        fold()
    assert counters.totals(tenant.id, Window(start, end)) == {"messages": 11_111}
    days = [(total.day.strftime("%d.%m."), total.quantity) for total in counters.by_day(tenant.id, Window(start, end))]
    assert days == [("05.03.", 111), ("05.04.", 11_000)]
    short = Window(start, start + 10 * second)
    assert counters.totals(tenant.id, short) == {"messages": 1}


def test_late_usage_counts_where_it_was_used_and_corrections_may_be_negative(tenant):
    put(tenant, "messages", 5, now())
    put(tenant, "messages", -2, now())
    put(tenant, "messages", 100, now() - timedelta(days=40))
    fold()
    assert counters.totals(tenant.id, month(now())) == {"messages": 3}


def test_levels_are_the_sum_of_all_times(tenant):
    put(tenant, "storage", 500, now() - timedelta(days=400))
    fold()
    put(tenant, "storage", -200, now())
    assert counters.levels(tenant.id, ["storage", "messages"]) == {"storage": 300}


def test_what_a_deleted_tenant_has_used_is_dropped(tenant):
    other = Tenant.create(slug="other", name="Other")
    record(other)
    record(tenant)
    other.delete_instance()
    assert sum(fold().values()) == 6 and fold() == {}
    assert counters.totals(tenant.id, EVER) == CHAT and counters.totals(other.id, EVER) == {}


def test_folding_while_others_count_loses_nothing(tenant):
    """20 threads record 20 chats each, while three fold."""

    def act(number):
        for _ in range(20):
            if number < 3:
                fold(limit=50)
            else:
                record(tenant)

    crowd(23, act)
    assert counters.totals(tenant.id, EVER) == {name: 400 * number for name, number in CHAT.items()}
    while fold():
        pass
    assert counters.totals(tenant.id, EVER) == {name: 400 * number for name, number in CHAT.items()}


def test_what_an_older_process_counts_is_copied(tenant):
    run_id = uuid7()
    for quantity in (10, 10, 30):
        database.execute_sql(
            """insert into usage_record (id, tenant_id, run_id, feature, quantity) values (%s, %s, %s, 'input_tokens', %s)
               on conflict (run_id, feature) do update set quantity = excluded.quantity""",
            (uuid7(), tenant.id, run_id, quantity),
        )
    record(tenant, run_id, {"input_tokens": 35})
    assert entries(tenant) == [("input_tokens", 0, 10), ("input_tokens", 1, 20), ("input_tokens", 2, 5)]
    assert counters.totals(tenant.id, EVER) == {"input_tokens": 35}


@given(TIMES)
def test_a_month_holds_its_times_and_is_followed_by_the_next(at):
    start, end = month(at)
    assert start <= at < end and month(end).end == MONTHLY.after(end) and start.day == end.day == 1


@given(TIMES, TIMES, st.sampled_from(["daily", "weekly", "monthly", "yearly"]), st.integers(1, 6), st.booleans())
def test_a_period_holds_its_times_and_is_followed_by_the_next(start, at, name, count, is_trial):
    interval = Interval(name, count)
    first_end = start + timedelta(days=14) if is_trial else interval.after(start)
    at = max(start, at)
    found = period(start, first_end, interval, at)
    assert found.start <= at < found.end
    following = period(start, first_end, interval, found.end)
    assert following.start == found.end
    assert (found.start == start) == (at < first_end)


def test_the_last_of_a_month_comes_again_after_a_short_month():
    start = datetime(2026, 1, 31, 12, tzinfo=UTC)
    ends = [period(start, MONTHLY.after(start), MONTHLY, start + timedelta(days=days)).end.day for days in (0, 30, 62)]
    assert ends == [28, 31, 30]


def test_after_a_trial_the_periods_begin_at_its_end():
    start = datetime(2026, 1, 1, tzinfo=UTC)
    end = start + timedelta(days=14)
    assert period(start, end, MONTHLY, end) == (end, datetime(2026, 2, 15, tzinfo=UTC))
    assert period(start, None, MONTHLY, start) == (start, datetime(2026, 2, 1, tzinfo=UTC))
