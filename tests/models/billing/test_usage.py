"""What runs have used, and the limits of plans."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.billing import usage_limits
from models.billing.usage_limits import UsageLimitExceeded, require_within, set_limit, window
from models.platform.database import database, transaction
from models.platform.ids import uuid7
from models.runs import usage

TOKENS = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15, "requests": 1}


@pytest.fixture
def limited(tenant, configure):
    """limited(feature, soft=, hard=) sets a limit of the tenant's plan. What is used is looked up each time."""
    configure(enable_usage_guardrails=True, usage_guardrail_cache_ttl_seconds=0)
    database.execute_sql("update tenant set plan_code = 'starter'")

    def limit(feature, *, soft=None, hard=None):
        with transaction():
            set_limit("starter", feature, soft=soft, hard=hard)

    yield limit
    database.execute_sql("delete from plan_limit")


def used(tenant):
    rows = database.execute_sql("select feature, quantity from usage_record where tenant_id = %s", (tenant.id,))
    return dict(rows.fetchall())


def record(tenant, run_id=None, tokens=TOKENS, messages=1):
    with transaction():
        usage.record(tenant.id, run_id or uuid7(), tokens, messages=messages)


def test_a_run_is_counted_once(tenant):
    run_id = uuid7()
    for _ in range(2):
        record(tenant, run_id)
    assert used(tenant) == {"messages": 1, "input_tokens": 10, "output_tokens": 5}


def test_a_run_that_used_nothing_leaves_no_row(tenant):
    record(tenant, tokens=None, messages=0)
    assert used(tenant) == {}


def test_a_hard_limit_of_two_allows_two_messages(tenant, limited):
    limited("messages", hard=2)
    for _ in range(2):
        require_within(tenant.id)
        record(tenant)
    with pytest.raises(UsageLimitExceeded) as refused:
        require_within(tenant.id)
    detail = refused.value.details
    assert (detail["feature_key"], detail["limit_type"], detail["limit_value"], detail["usage"]) == (
        "messages",
        "hard_limit",
        2,
        2,
    )
    assert int(refused.value.headers["Retry-After"]) <= 31 * 86_400 and "messages" in str(refused.value)


def test_a_soft_limit_warns_or_refuses_as_the_setting_says(tenant, limited, configure, caplog):
    limited("input_tokens", soft=10)
    record(tenant)
    require_within(tenant.id)
    assert "usage.soft_limit" in caplog.text
    configure(usage_guardrail_soft_limit_mode="block")
    with pytest.raises(UsageLimitExceeded):
        require_within(tenant.id)


def test_what_other_tenants_and_other_months_used_does_not_count(tenant, limited):
    from models.auth.tenants import Tenant

    limited("messages", hard=1)
    record(Tenant.create(slug="other", name="Other", plan="starter"))
    record(tenant)
    database.execute_sql(
        "update usage_record set created_at = now() - interval '32 days' where tenant_id = %s", (tenant.id,)
    )
    require_within(tenant.id)


def test_a_tenant_without_a_plan_and_an_installation_without_guardrails_have_no_limits(tenant, limited, configure):
    limited("messages", hard=0)
    database.execute_sql("update tenant set plan_code = null")
    require_within(tenant.id)
    database.execute_sql("update tenant set plan_code = 'starter'")
    with pytest.raises(UsageLimitExceeded):
        require_within(tenant.id)
    configure(enable_usage_guardrails=False)
    require_within(tenant.id)


def test_what_is_used_is_remembered_for_a_while(tenant, limited, configure):
    limited("messages", hard=1)
    configure(usage_guardrail_cache_ttl_seconds=10**9)
    usage_limits._remembered.cache_clear()
    require_within(tenant.id)
    record(tenant)
    require_within(tenant.id)
    configure(usage_guardrail_cache_ttl_seconds=0)
    with pytest.raises(UsageLimitExceeded):
        require_within(tenant.id)


@given(st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_a_month_holds_its_times_and_is_followed_by_the_next(at):
    start, end = window(at)
    assert start <= at < end and window(end)[0] == end and start.day == end.day == 1
