"""The agents and tools of the catalogue."""

from typing import Any

import falcon

from edge.endpoint import endpoint
from edge.request import Request
from edge.schemas.agents import AgentStatus, AgentSummary
from models.conversations.conversation import Conversation
from models.platform.authorization import AGENT_READ
from models.platform.clock import iso_or_none
from workers.agents.catalog import catalog


class Agents:
    @endpoint("List Available Agents", "agents", action=AGENT_READ)
    def on_get(self, req: Request, resp: falcon.Response) -> list[AgentSummary]:
        return [
            AgentSummary(name=agent.key, status="active", description=agent.description)
            for agent in catalog().agents.values()
        ]

    @endpoint("Get Agent Status", "agents", action=AGENT_READ)
    def on_get_status(self, req: Request, resp: falcon.Response, agent_name: str) -> AgentStatus:
        agent = catalog().get(agent_name)
        last_used, count = Conversation.usage_of_agent(req.context.principal, agent.key)
        return AgentStatus(name=agent.key, status="active", last_used=iso_or_none(last_used), total_conversations=count)


class Tools:
    @endpoint(
        "List Available Tools", "tools", action=AGENT_READ, schema={"type": "object", "additionalProperties": True}
    )
    def on_get(self, req: Request, resp: falcon.Response) -> dict[str, Any]:
        tools = list(catalog().tools.values())
        return {
            "total_tools": len(tools),
            "tool_names": [tool.name for tool in tools],
            "categories": list(dict.fromkeys(tool.category for tool in tools)),
            "tools": [
                {
                    "name": tool.name,
                    "category": tool.category,
                    "description": tool.description,
                    "agents": [agent.key for agent in catalog().agents.values() if tool.name in agent.tools],
                }
                for tool in tools
            ],
        }
