"""Who comes near a limit is told, once in a window."""

import pytest

from models.billing import usage_notices
from models.billing.notices import Notice
from models.platform.database import database, transaction
from models.platform.ids import uuid7
from models.runs import usage


def record(tenant, messages):
    with transaction():
        usage.record(tenant.id, uuid7(), {"messages": messages})
    return usage_notices.tell_limits([tenant.id])


def told(tenant):
    return [(notice.kind, notice.details["used"]) for notice in Notice.select().order_by(Notice.id)]


def test_at_80_and_at_100_percent_once_each(tenant, limited):
    limited("messages", soft=10, hard=100)
    assert [record(tenant, number) for number in (79, 1, 5, 14, 1, 1)] == [0, 1, 0, 0, 1, 0]
    assert told(tenant) == [("limit_80", 80), ("limit_100", 100)]


def test_a_jump_over_both_is_told_as_the_higher(tenant, limited):
    limited("messages", soft=10)
    assert record(tenant, 11) == 1 and told(tenant) == [("limit_100", 11)]


@pytest.mark.parametrize("on", [True, False])
def test_with_billing_it_is_an_event_too(tenant, limited, subscribed, configure, on):
    limited("messages", hard=10)
    subscribed()
    configure(enable_usage_guardrails=on)
    record(tenant, 9)
    rows = database.execute_sql("select type, event->>'summary' from inbox_event where tenant_id = %s", (tenant.id,))
    told = ("longshore.usage.limit_reached", "80 % of the limit of messages is used: 9 of 10")
    assert rows.fetchall() == ([told] if on else [])


def test_limits_of_nothing_and_features_without_a_limit_are_not_told(tenant, limited):
    limited("messages", hard=0)
    limited("input_tokens")
    assert record(tenant, 5) == 0
