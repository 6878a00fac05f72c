"""The lists of agents and tools, and the status of an agent."""

from edge.schemas.agents import AgentStatus


def test_agents_and_tools_are_listed(http, signed):
    headers, _ = signed("viewer")
    agents = http.simulate_get("/api/v1/agents", headers=headers).json
    names = [agent["name"] for agent in agents]
    assert names == ["code_assistant", "data_analyst", "illustrator", "librarian", "triage", "writer"]
    tools = http.simulate_get("/api/v1/tools", headers=headers).json
    assert {"get_current_time", "search_conversations"} <= set(tools["tool_names"])
    assert tools["total_tools"] == len(tools["tools"])


def test_an_unknown_agent_has_no_status(http, signed):
    headers, _ = signed("viewer")
    answer = http.simulate_get("/api/v1/agents/nobody/status", headers=headers)
    assert (answer.status_code, answer.json["message"]) == (404, "Agent 'nobody' not found")


def test_an_agents_status_counts_real_conversations(http, signed, ask_as):
    headers, user = signed()
    ask_as(user, "hello", "c1")
    status = http.simulate_get("/api/v1/agents/triage/status", headers=headers).json
    assert status["total_conversations"] == 1 and status["last_used"].endswith("Z")
    AgentStatus.model_validate(status, extra="forbid")
