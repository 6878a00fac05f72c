"""What a tenant wants approved: set, shown and cleared by a command, on record."""

import pytest

from models.auth.tenants import Tenant
from models.commands import main
from models.platform.audit import AuditEvent
from models.runs import tool_policy


@pytest.fixture
def tools(tenant):
    return lambda *arguments: main(["tools", *arguments])


def test_a_rule_is_set_replaced_shown_and_cleared(tools, tenant, capsys):
    assert tools("set", "acme", "get_current_time", "always", "--reason", "a trial") == 0
    assert tools("set", "acme", "get_current_time", "admin", "--reason", "more care") == 0
    assert tools("list", "acme") == 0
    assert "get_current_time  admin" in capsys.readouterr().out
    assert tool_policy.of_tenant(tenant.id) == {"get_current_time": "admin"}
    assert tools("clear", "acme", "get_current_time", "--reason", "it is over") == 0
    assert tool_policy.of_tenant(tenant.id) == {}
    events = [(event.action, event.tenant_id, event.reason) for event in AuditEvent.select().order_by(AuditEvent.id)]
    assert events == [
        ("tool.rule_set", tenant.id, "a trial"),
        ("tool.rule_set", tenant.id, "more care"),
        ("tool.rule_cleared", tenant.id, "it is over"),
    ]


def test_a_rule_holds_in_its_own_tenant_only(tools, tenant):
    other = Tenant.create(slug="other", name="Other")
    tools("set", "acme", "get_current_time", "always", "--reason", "a trial")
    assert tool_policy.of_tenant(other.id) == {}


@pytest.mark.parametrize(
    "arguments",
    [("set", "nobody", "get_current_time", "always"), ("clear", "acme", "get_current_time")],
)
def test_a_command_that_changes_nothing_says_so_and_leaves_no_record(tools, arguments, capsys):
    assert tools(*arguments, "--reason", "a trial") == 2
    assert "error:" in capsys.readouterr().err
    assert AuditEvent.select().count() == 0


def test_there_is_no_rule_that_lets_more_calls_through(tools):
    with pytest.raises(SystemExit):
        tools("set", "acme", "get_current_time", "never", "--reason", "in a hurry")
