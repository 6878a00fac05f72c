"""What a tenant wants approved beyond what the tools themselves ask for. A rule can only add a question, never take one away.

always  every call of the tool waits for whoever may decide about the run
admin   every call waits for an admin who did not start the run
"""

from typing import Any
from uuid import UUID

from models.platform import audit
from models.platform.database import database, in_transaction
from models.platform.principal import Root

RULES = ("always", "admin")
SET = """
insert into tenant_tool_policy (tenant_id, tool_name, rule) values (%(tenant_id)s, %(tool_name)s, %(rule)s)
on conflict (tenant_id, tool_name) do update set rule = excluded.rule"""
CLEAR = "delete from tenant_tool_policy where tenant_id = %(tenant_id)s and tool_name = %(tool_name)s"
OF_TENANT = "select tool_name, rule from tenant_tool_policy where tenant_id = %(tenant_id)s order by tool_name"


def of_tenant(tenant_id: UUID) -> dict[str, str]:
    """The tenant's rules by the name of the tool."""
    return dict(database.execute_prepared(OF_TENANT, {"tenant_id": tenant_id}).fetchall())


@in_transaction
def set_rule(tenant_id: UUID, tool_name: str, rule: str, *, by: Root, reason: str) -> None:
    """Add or replace the rule for a tool. `rule`: one of RULES."""
    database.execute_prepared(SET, {"tenant_id": tenant_id, "tool_name": tool_name, "rule": rule})
    _record("tool.rule_set", tenant_id, by, reason, tool=tool_name, rule=rule)


@in_transaction
def clear_rule(tenant_id: UUID, tool_name: str, *, by: Root, reason: str) -> bool:
    """Remove the rule for a tool. False if there was none."""
    was_there = bool(database.execute_prepared(CLEAR, {"tenant_id": tenant_id, "tool_name": tool_name}).rowcount)
    if was_there:
        _record("tool.rule_cleared", tenant_id, by, reason, tool=tool_name)
    return was_there


def _record(action: str, tenant_id: UUID, by: Root, reason: str, **details: Any) -> None:
    audit.record(action, by, f"tenant:{tenant_id}", tenant_id=tenant_id, reason=reason, **details)
