"""The catalogue of agents and tools. It only declares and runs nothing, so that the edge may read it too."""

import json
from collections.abc import Iterable, Iterator
from functools import lru_cache

from models.platform.errors import NotFound
from models.platform.settings import settings
from workers.agents.bundled import bundled_agents, bundled_tools
from workers.agents.declarations import (
    NO_PARAMETERS,
    OPTIONAL_TOOLS,
    QUESTION,
    VARIABLES,
    Agent,
    Tool,
    agent_tool,
    handoff_tool,
)
from workers.agents.providers import models_file
from workers.agents.providers.models_file import Models

__all__ = ["NO_PARAMETERS", "Agent", "AgentNotFound", "Catalog", "Tool", "catalog", "handoff_tool"]

# The settings that the catalogue is built from.
SETTINGS = (
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
    "image_max_partial_images",
    "container_default_auto_memory",
)


MAX_DEPTH = 3  # agents that wait for each other's answers
ANSWER_SECONDS = 300.0  # that an agent may take to answer another one


class AgentNotFound(NotFound):
    code = "agent_not_found"


class Catalog:
    """Agents and tools by name. ValueError if they do not fit together."""

    def __init__(self, agents: Iterable[Agent], tools: dict[str, Tool]) -> None:
        self.agents = {agent.key: agent for agent in sorted(agents, key=lambda agent: agent.key)}
        self.tools = tools
        defaults = [agent for agent in self.agents.values() if agent.default]
        if len(defaults) > 1:
            raise ValueError("more than one default agent")
        self.default = (defaults or list(self.agents.values()))[0]
        for agent in self.agents.values():
            self._check(agent)

    def _check(self, agent: Agent) -> None:
        if missing := set(agent.handoffs) - set(self.agents):
            raise ValueError(f"{agent.key} hands off to unknown agents {sorted(missing)}")
        if missing := set(agent.tools) - set(self.tools) - OPTIONAL_TOOLS:
            raise ValueError(f"{agent.key} needs unknown tools {sorted(missing)}")
        if missing := set(agent.agent_tools) - set(self.agents):
            raise ValueError(f"{agent.key} asks unknown agents {sorted(missing)}")
        functions = [*agent.tools, *map(handoff_tool, agent.handoffs), *map(agent_tool, agent.agent_tools)]
        if doubles := {name for name in functions if functions.count(name) > 1}:
            raise ValueError(f"{agent.key} has several tools with the name {min(doubles)}")
        self._check_for_cycles(agent, (), 0)
        agent.instructions(**dict.fromkeys(VARIABLES, "-"))

    def _check_for_cycles(self, agent: Agent, path: tuple[str, ...], depth: int) -> None:
        """`depth`: how many agents wait for the answer of this one."""
        if agent.key in path:
            raise ValueError(f"handoffs and agents as tools form a cycle: {' -> '.join((*path, agent.key))}")
        if depth > MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} agents ask each other: {' -> '.join((*path, agent.key))}")
        for key in agent.handoffs:
            self._check_for_cycles(self.agents[key], (*path, agent.key), depth)
        for key in agent.agent_tools:
            self._check_for_cycles(self.agents[key], (*path, agent.key), depth + 1)

    def get(self, key: str | None) -> Agent:
        """The agent with this key; the default agent for None or "". AgentNotFound for an unknown key."""
        agent = self.agents.get(key) if key else self.default
        if agent is None:
            raise AgentNotFound(f"Agent '{str(key)[:64]}' not found")
        return agent

    def tools_of(self, agent: Agent) -> list[Tool]:
        return [self.tools[name] for name in agent.tools if name in self.tools]

    def functions_of(self, agent: Agent) -> list[Tool]:
        """The tools that run here: functions, and the agents that this one may ask."""
        asked = [_as_tool(self.agents[key]) for key in agent.agent_tools]
        return [tool for tool in self.tools_of(agent) if tool.hosted is None] + asked

    def function(self, agent: Agent, name: str) -> tuple[Tool | None, str | None]:
        """(The tool that runs here under this name, the agent that it asks). None for what is not there."""
        tool = next((tool for tool in self.functions_of(agent) if tool.name == name), None)
        return tool, next((key for key in agent.agent_tools if agent_tool(key) == name), None)

    def handoff(self, agent: Agent, name: str) -> str | None:
        """The agent that takes over if this one calls the function of this name; None if it is no handoff."""
        return next((key for key in agent.handoffs if handoff_tool(key) == name), None)

    def models(self) -> set[str]:
        """The models that a client may ask for."""
        own = {agent.model_name for agent in self.agents.values()}
        return own | {settings.agent_model_default} | set(settings.items(settings.agent_models_allowed))


def _as_tool(agent: Agent) -> Tool:
    description = f"Asks {agent.display_name}, who sees only your question. {agent.description}"
    return Tool(agent_tool(agent.key), "agent", description, parameters=QUESTION, seconds=ANSWER_SECONDS)


def catalog() -> Catalog:
    """The agents and tools that the settings describe. SystemExit if MCP_TOOLS or models cannot work. Cheap to call."""
    return _build(
        tuple(getattr(settings, name) for name in SETTINGS), json.dumps(settings.mcp_tools.get_secret_value())
    )


@lru_cache(maxsize=4)
def _build(values: tuple[object, ...], mcp_tools: str) -> Catalog:
    # The arguments only key the cache.
    catalog = Catalog(bundled_agents(settings), bundled_tools(settings))
    if faults := list(_model_faults(catalog, models_file.models())):
        raise models_file.refusal(faults)
    return catalog


def _model_faults(catalog: Catalog, models: Models) -> Iterator[str]:
    yield from models.faults()
    for agent in catalog.agents.values():
        if faults := list(models.unknown([agent.model_name])):
            yield from (f"agent {agent.key}: {fault}" for fault in faults)
        elif all(target.provider.wire == "chat" for target in models.chain(agent.model_name)):
            hosted = {tool.name for tool in catalog.tools_of(agent) if tool.hosted} - OPTIONAL_TOOLS
            yield from (f"agent {agent.key}: the chat wire has no tool {name}" for name in sorted(hosted))
    allowed = settings.items(settings.agent_models_allowed)
    yield from (f"AGENT_MODELS_ALLOWED: {fault}" for fault in models.unknown(allowed))
