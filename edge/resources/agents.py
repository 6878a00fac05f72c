"""The agents and tools of the catalogue."""

from typing import Any

import falcon

from edge.endpoint import endpoint
from edge.request import Request
from edge.schemas.agents import AgentStatus, AgentSummary, ToolSummary
from models.conversations.conversation import Conversation
from models.platform.authorization import AGENT_READ
from models.platform.clock import iso_or_none
from workers.agents.catalog import Catalog, Tool, catalog


class Agents:
    @endpoint("List Available Agents", "agents", action=AGENT_READ)
    def on_get(self, req: Request, resp: falcon.Response) -> list[AgentSummary]:
        """The agents that can be asked."""
        found = catalog()
        return [
            AgentSummary(
                name=agent.key,
                status="active",
                description=agent.description,
                display_name=agent.display_name,
                model=agent.model_name,
                tools=[tool.name for tool in found.tools_of(agent)],
                handoffs=[handoff.agent for handoff in agent.targets],
                capabilities=list(agent.capabilities),
                default=agent is found.default,
            )
            for agent in found.agents.values()
        ]

    @endpoint("Get Agent Status", "agents", action=AGENT_READ)
    def on_get_status(self, req: Request, resp: falcon.Response, agent_name: str) -> AgentStatus:
        """When the agent was last asked, and in how many conversations, of those that the caller may read."""
        agent = catalog().get(agent_name)
        last_used, count = Conversation.usage_of_agent(req.context.principal, agent.key)
        return AgentStatus(name=agent.key, status="active", last_used=iso_or_none(last_used), total_conversations=count)


class Tools:
    @endpoint(
        "List Available Tools", "tools", action=AGENT_READ, schema={"type": "object", "additionalProperties": True}
    )
    def on_get(self, req: Request, resp: falcon.Response) -> dict[str, Any]:
        """The tools of the agents: who has them, who runs them, and whether their calls have to be approved."""
        found = catalog()
        tools = [_summary(tool, found) for tool in found.tools.values()]
        return {
            "total_tools": len(tools),
            "tool_names": [tool.name for tool in tools],
            "categories": list(dict.fromkeys(tool.category for tool in tools)),
            "tools": [tool.model_dump() for tool in tools],
        }


def _summary(tool: Tool, found: Catalog) -> ToolSummary:
    return ToolSummary(
        name=tool.name,
        category=tool.category,
        description=tool.description,
        kind=tool.kind,
        approval=tool.asks,
        agents=[agent.key for agent in found.users_of(tool)],
    )
