"""Agents and their status."""

from typing import Literal

from pydantic import BaseModel


class AgentSummary(BaseModel):
    """`tools`: what the agent has here. `handoffs`: the agents that it may pass the conversation to."""

    name: str
    status: Literal["active", "inactive", "error"]
    description: str | None = None
    display_name: str | None = None
    model: str | None = None
    tools: list[str] = []
    handoffs: list[str] = []
    capabilities: list[str] = []
    default: bool = False


class AgentStatus(BaseModel):
    name: str
    status: Literal["active", "inactive", "error"]
    last_used: str | None = None
    total_conversations: int = 0


class ToolSummary(BaseModel):
    """`kind`: who runs it. `agents`: who has it. `approval`: whether a person has to approve its calls."""

    name: str
    category: str
    description: str
    kind: Literal["function", "hosted", "mcp"]
    approval: Literal["never", "always", "by_arguments"]
    agents: list[str]
