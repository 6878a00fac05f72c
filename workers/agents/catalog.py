"""The agents and tools of this process. They only declare and run nothing, so that the edge may read them too."""

import json
import logging
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import replace
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from models.platform.errors import NotFound
from models.platform.settings import settings
from workers.agents import checks, reading
from workers.agents.declarations import NO_PARAMETERS, Agent, Handoff, Tool, agent_tool, handoff_tool
from workers.agents.functions import parameters_of
from workers.agents.mcp_servers import McpServer
from workers.agents.providers import models_file

__all__ = ["NO_PARAMETERS", "Agent", "AgentNotFound", "Catalog", "Tool", "catalog", "handoff_tool"]
log = logging.getLogger(__name__)

# The settings that the catalogue is built from.
SETTINGS = (
    "environment",
    "agents_path",
    "agent_model_triage",
    "agent_model_code",
    "agent_model_data",
    "agent_model_default",
    "agent_models_allowed",
    *models_file.SETTINGS,
    "image_default_size",
    "image_default_quality",
    "image_default_format",
    "image_default_background",
    "image_default_compression",
    "image_max_partial_images",
    "container_default_auto_memory",
)
ANSWER_SECONDS = 300.0  # that an agent may take to answer another one
KEPT = 8  # catalogues of other settings


class Question(BaseModel):
    """What an agent asks another one."""

    model_config = ConfigDict(extra="forbid")
    input: str = Field(description="The question, with all that is needed to answer it.")


class AgentNotFound(NotFound):
    code = "agent_not_found"


class Catalog:
    """Agents and tools by name. `absent`: tools that no provider runs here. ValueError that lists all faults."""

    def __init__(
        self, agents: Iterable[Agent], tools: Mapping[str, Tool], absent: Mapping[str, Tool] | None = None
    ) -> None:
        self.agents = {agent.key: agent for agent in sorted(agents, key=lambda agent: agent.key)}
        self.tools = dict(tools)
        if faults := list(checks.faults(self.agents, self.tools, absent or {})):
            raise ValueError("\n".join(map(str, faults)))
        self.default = next(
            (agent for agent in self.agents.values() if agent.default), next(iter(self.agents.values()))
        )

    def get(self, key: str | None) -> Agent:
        """The agent with this key; the default agent for None or "". AgentNotFound for an unknown key."""
        agent = self.agents.get(key) if key else self.default
        if agent is None:
            raise AgentNotFound(f"Agent '{str(key)[:64]}' not found")
        return agent

    def with_output(self, key: str, schema: dict[str, Any]) -> "Catalog":
        """The same, but the answer of one agent is JSON that fits this schema."""
        other = copy(self)
        other.agents = {**self.agents, key: replace(self.agents[key], output_schema=schema)}
        return other

    def tools_of(self, agent: Agent) -> list[Tool]:
        return [self.tools[name] for name in agent.tools if name in self.tools]

    def functions_of(self, agent: Agent) -> list[Tool]:
        """The tools that run here: functions, and the agents that this one may ask."""
        asked = [_as_tool(self.agents[key]) for key in agent.agent_tools]
        return [tool for tool in self.tools_of(agent) if tool.kind == "function"] + asked

    def servers_of(self, agent: Agent) -> list[McpServer]:
        """The MCP servers that this agent uses and that we ask."""
        return [tool.server for tool in self.tools_of(agent) if tool.server and tool.hosted is None]

    @property
    def asks_servers(self) -> bool:
        """Whether workers need the SDK for MCP servers."""
        return any(self.servers_of(agent) for agent in self.agents.values())

    def denies(self, server_label: str, name: str) -> bool:
        """Whether nobody may call this tool of a hosted MCP server, whoever asks for approval."""
        servers = [tool.server for tool in self.tools.values() if tool.server]
        return any(server.server_label == server_label and not server.offers(name) for server in servers)

    def asked(self, agent: Agent, name: str) -> str | None:
        """The agent that the function of this name asks; None if it is another function."""
        return next((key for key in agent.agent_tools if agent_tool(key) == name), None)

    def handoff(self, agent: Agent, name: str) -> Handoff | None:
        """What happens if this agent's model calls the function of this name; None if it is no handoff."""
        return next((handoff for handoff in agent.targets if handoff.tool == name), None)

    def users_of(self, tool: Tool) -> list[Agent]:
        """The agents that have this tool."""
        return [agent for agent in self.agents.values() if tool.name in agent.tools]

    def models(self) -> set[str]:
        """The models that a client may ask for."""
        own = {agent.model_name for agent in self.agents.values()}
        return own | {settings.agent_model_default} | set(settings.items(settings.agent_models_allowed))


def _as_tool(agent: Agent) -> Tool:
    description = f"Asks {agent.display_name}, who sees only your question. {agent.description}"
    name = agent_tool(agent.key)
    return Tool(name, "agent", description, parameters_of(Question), arguments=Question, seconds=ANSWER_SECONDS)


class Built(NamedTuple):
    version: reading.Version
    catalog: Catalog


_built: dict[tuple[object, ...], Built] = {}


def catalog() -> Catalog:
    """The agents and tools that the files and settings describe. SystemExit with all faults if they cannot work. Cheap.

    In development, files that have changed are read again. If they have faults then, the catalogue stays what it was.
    """
    values = [getattr(settings, name) for name in SETTINGS]
    key = (*values, json.dumps(settings.mcp_tools.get_secret_value()))
    version, built = reading.version(), _built.get(key)
    if built is None or built.version != version:
        if len(_built) >= KEPT:
            _built.clear()
        built = _built[key] = Built(version, _build(built.catalog if built else None))
    return built.catalog


def _build(last: Catalog | None) -> Catalog:
    found = reading.read_all()
    if not found.faults:
        if last:
            log.info("catalogue.read_again")
        return Catalog(found.agents_by_key().values(), found.tools, found.absent)
    if last is None:
        raise SystemExit("\n".join(found.faults))
    log.error("catalogue.faulty", extra={"faults": found.faults})
    return last
