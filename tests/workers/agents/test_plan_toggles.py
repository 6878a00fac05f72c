"""Hosted tools that a tenant's plan does not allow."""

import pytest

from models.auth.tenants import Tenant
from models.tenants import flags
from models.tenants.settings import TenantSettings
from tests.support.models import collect, request
from workers.agents.catalog import Agent, Catalog, catalog
from workers.agents.declarations import Tool
from workers.agents.loop import run_agent
from workers.agents.requests import next_request
from workers.agents.turn import Turn

pytestmark = pytest.mark.usefixtures("provider", "packaged_plans")


@pytest.fixture
def asked_by(tenant):
    """asked_by(plan, message) -> the request of a turn of a tenant on this plan."""

    def ask(plan, message="Hello", agent="triage"):
        Tenant.update(plan=plan).execute()
        asked = request(message, agent)
        asked.tenant_id = tenant.id
        return asked

    return ask


def tools(body):
    return [tool.get("name", tool["type"]) for tool in body["tools"]]


def withheld(events):
    return [(event["agent"], event["tool_name"]) for event in events if event["event"] == "tools_withheld"]


def test_a_plan_without_web_search_leaves_the_tool_out_and_says_so(billing, asked_by):
    without, having = (next_request(Turn(asked_by(plan), catalog())) for plan in ("starter", "pro"))
    assert "web_search" in tools(having) and tools(without) == [name for name in tools(having) if name != "web_search"]
    assert "do not include: web_search." in without["instructions"]
    assert "do not include" not in having["instructions"]


@pytest.mark.parametrize(("plan", "said"), [("starter", [("triage", "web_search")]), ("pro", []), (None, [])])
def test_clients_are_told(billing, asked_by, plan, said):
    events, result = collect(run_agent(asked_by(plan, "[[text=fine]]")))
    assert withheld(events) == said and result.response_text == "fine"


@pytest.mark.parametrize("tool", ["web_search", "code_interpreter", "image_generation"])
def test_a_tenants_flag_leaves_a_tool_out_whatever_its_plan_is(asked_by, tenant, tool):
    agents = [agent.key for agent in catalog().agents.values() if tool in agent.tools]
    assert agents
    for agent in agents:
        assert tool in [one["type"] for one in next_request(Turn(asked_by("pro", agent=agent), catalog()))["tools"]]
    row = TenantSettings.create(tenant_id=tenant.id, flags={tool: False})
    for agent in agents:
        asked = next_request(Turn(asked_by("pro", agent=agent), catalog()))
        assert tool not in [one["type"] for one in asked["tools"]]
        assert f"do not include: {tool}" in asked["instructions"]
    TenantSettings.update(flags={tool: True, "old": False}).where(TenantSettings.id == row.id).execute()
    assert not Turn(asked_by("pro", agent=agents[0]), catalog()).withheld


def test_the_search_itself_cannot_happen(billing, asked_by):
    _, result = collect(run_agent(asked_by("pro", "Search the web for news")))
    assert "web_search" in str(result.items)
    _, result = collect(run_agent(asked_by("starter", "Search the web for news")))
    assert not [item for item in result.items if item["type"] == "tool_call"]


def test_an_agent_that_takes_over_is_held_to_the_same_plan(billing, asked_by):
    events, _ = collect(run_agent(asked_by("starter", "[[handoff=code_assistant]] fix it")))
    assert withheld(events) == [("triage", "web_search"), ("code_assistant", "web_search")]


def test_other_kinds_of_web_search_are_covered_and_other_tools_are_not(billing, asked_by):
    found = {
        name: Tool(name, "web", name, hosted={"type": kind})
        for name, kind in (
            ("old", "web_search_preview"),
            ("dated", "web_search_2025_08_26"),
            ("code", "code_interpreter"),
        )
    }
    agents = Catalog([Agent("one", "One", "d", "p", tools=tuple(found))], found)
    turn = Turn(asked_by("starter", agent="one"), agents)
    assert [tool.name for tool in turn.hosted] == ["code"] and [tool.name for tool in turn.withheld] == ["old", "dated"]


def test_without_billing_everything_is_allowed_and_only_the_flags_are_asked_for_once(asked_by, monkeypatch):
    from models.platform.database import database

    asked, statements, execute = asked_by("starter", "[[text=fine]]"), [], database.execute_prepared
    monkeypatch.setattr(database, "execute_prepared", lambda *args: statements.append(args[0]) or execute(*args))
    turn = Turn(asked, catalog())
    assert "web_search" in tools(next_request(turn)) and not turn.withheld
    assert statements == [flags.READ]


def test_the_plan_is_looked_up_once_for_a_turn(billing, asked_by, monkeypatch):
    from models.billing import plans

    calls, toggle = [], plans.toggle
    monkeypatch.setattr(plans, "toggle", lambda *asked: calls.append(asked) or toggle(*asked))
    collect(run_agent(asked_by("starter", "What time is it?")))
    assert len(calls) == 1
