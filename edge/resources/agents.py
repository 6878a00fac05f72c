"""What agents and tools there are."""

import falcon

from edge.auth import allow
from edge.openapi import describes
from edge.schemas.agents import AgentStatus, AgentSummary
from models.conversations import Conversation
from models.platform.clock import iso
from workers.agents.catalog import CATALOG


class Agents:
    @describes("List Available Agents", "agents", answers={200: [AgentSummary]})
    @allow(role=None, scope="tools:read")
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = [
            {"name": agent.key, "status": "active", "description": agent.description}
            for agent in CATALOG.agents.values()
        ]

    @describes("Get Agent Status", "agents", answers={200: AgentStatus})
    @allow(role=None, scope="tools:read")
    def on_get_status(self, req: falcon.Request, resp: falcon.Response, agent_name: str) -> None:
        agent = CATALOG.get(agent_name)
        last_used, count = Conversation.figures(req.context.principal, agent.key)
        resp.media = {
            "name": agent.key,
            "status": "active",
            "last_used": iso(last_used) if last_used else None,
            "total_conversations": count,
        }


class Tools:
    @describes("List Available Tools", "tools", answers={200: {"type": "object", "additionalProperties": True}})
    @allow(role=None, scope="tools:read")
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        tools = list(CATALOG.tools.values())
        users = {
            tool.name: [agent.key for agent in CATALOG.agents.values() if tool.name in agent.tools] for tool in tools
        }
        resp.media = {
            "total_tools": len(tools),
            "tool_names": [tool.name for tool in tools],
            "categories": list(dict.fromkeys(tool.category for tool in tools)),
            "tools": [
                {
                    "name": tool.name,
                    "category": tool.category,
                    "description": tool.description,
                    "agents": users[tool.name],
                }
                for tool in tools
            ],
        }
