"""Agents and their status."""

from typing import Literal

from pydantic import BaseModel


class AgentSummary(BaseModel):
    name: str
    status: Literal["active", "inactive", "error"]
    description: str | None = None


class AgentStatus(BaseModel):
    name: str
    status: Literal["active", "inactive", "error"]
    last_used: str | None = None
    total_conversations: int = 0
