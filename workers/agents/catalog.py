"""The agents and tools that exist. Declarations only, so that the edge can list them: nothing here runs anything."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from string import Template
from typing import Any

from models.platform.errors import NotFound
from models.platform.settings import settings


class AgentNotFound(NotFound):
    code = "agent_not_found"


@dataclass(frozen=True, slots=True)
class Tool:
    """`hosted` is what the provider is sent for a tool that it runs itself; else `parameters` is a function's JSON schema."""

    name: str
    category: str
    description: str
    parameters: dict[str, Any] | None = None
    hosted: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Agent:
    """`handoffs` are keys of other agents; `history` is what they are shown: full, fresh (the question), last_turn (two items)."""

    key: str
    display_name: str
    description: str
    prompt: str
    tools: tuple[str, ...] = ()
    handoffs: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    model: str | None = None
    history: str = "full"
    output_schema: dict[str, Any] | None = None
    default: bool = False
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def model_name(self) -> str:
        return self.model or settings.agent_model_default

    def instructions(self, **variables: str | None) -> str:
        """The prompt for one request (VARIABLES); an unknown variable is an error, an empty one falls back."""
        known = {name: value for name, value in variables.items() if value}
        return Template(self.prompt).substitute(
            {"user_name": "there", "agent_key": self.key, "agent_name": self.display_name, **self.variables, **known}
        )


VARIABLES = ("user_name", "user_id", "tenant_id", "conversation_id")  # of the request, beside agent_key and agent_name


def handoff_tool(key: str) -> str:
    return f"transfer_to_{key}"


EVERYDAY = ("web_search", "get_current_time", "search_conversations")

AGENTS = (
    Agent(
        "triage",
        "Triage Assistant",
        "Front desk: short, practical answers; passes code and data questions on.",
        "You are $agent_name, the front desk of an assistant service. Address the user as $user_name. Answer briefly and so "
        "that the user can act on it. Pass questions about software to the code assistant and questions about data or "
        "statistics to the data analyst, without announcing it. Say so when you do not know.",
        tools=EVERYDAY,
        handoffs=("code_assistant", "data_analyst"),
        capabilities=("general", "search", "handoff"),
        model=settings.agent_model_triage,
        default=True,
    ),
    Agent(
        "code_assistant",
        "Code Assistant",
        "Software engineering: code, quality, architecture, step by step where it helps.",
        "You are $agent_name. Help $user_name with software engineering: correct code first, then quality and design. Give steps "
        "where they help, name trade-offs, and ask when a requirement is missing.",
        tools=EVERYDAY,
        capabilities=("code", "search"),
        model=settings.agent_model_code,
    ),
    Agent(
        "data_analyst",
        "Data Analyst",
        "Data and statistics: interpretation, methods, checks, and how to show results.",
        "You are $agent_name. Help $user_name to understand data: explain what figures do and do not say, choose sound methods, "
        "suggest a chart and a sanity check where useful.",
        tools=EVERYDAY,
        capabilities=("analysis", "search"),
        model=settings.agent_model_data,
    ),
)


def _hosted_tools() -> Iterable[Tool]:
    if settings.openai_api_key:
        yield Tool(
            "web_search",
            "web_search",
            "Searches the web.",
            hosted={"type": "web_search", "search_context_size": "medium"},
        )
        yield Tool(
            "code_interpreter",
            "code",
            "Runs Python in a sandbox.",
            hosted={
                "type": "code_interpreter",
                "container": {"type": "auto", "memory_limit": settings.container_default_auto_memory},
            },
        )
        yield Tool(
            "image_generation",
            "image",
            "Makes images.",
            hosted={
                "type": "image_generation",
                "size": settings.image_default_size,
                "quality": settings.image_default_quality,
                "output_format": settings.image_default_format,
                "background": settings.image_default_background,
                "partial_images": settings.image_max_partial_images,
            },
        )
    for server in settings.mcp_tools:
        yield _mcp_tool(server)


def _mcp_tool(server: dict[str, Any]) -> Tool:
    wanted = {
        "name",
        "server_label",
        "server_url",
        "connector_id",
        "authorization",
        "require_approval",
        "allowed_tools",
        "description",
        "auto_approve_tools",
        "deny_tools",
    }
    if unknown := set(server) - wanted:
        raise SystemExit(f"MCP_TOOLS: unknown keys {sorted(unknown)}.")
    if not server.get("name") or not server.get("server_label"):
        raise SystemExit("MCP_TOOLS: every entry needs a name and a server_label.")
    if bool(server.get("server_url")) == bool(server.get("connector_id")):
        raise SystemExit(f"MCP_TOOLS: {server['name']} needs exactly one of server_url and connector_id.")
    if set(server.get("auto_approve_tools") or ()) & set(server.get("deny_tools") or ()):
        raise SystemExit(f"MCP_TOOLS: {server['name']} both approves and denies a tool.")
    sent = {"server_label", "server_url", "connector_id", "authorization", "require_approval", "allowed_tools"}
    hosted = {"type": "mcp", "require_approval": "always", **{key: server[key] for key in sent & set(server)}}
    if approved := server.get("auto_approve_tools"):
        hosted["require_approval"] = {"never": {"tool_names": approved}}
    return Tool(server["name"], "mcp", server.get("description") or f"MCP server {server['name']}.", hosted=hosted)


NOTHING: dict[str, Any] = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
_QUERY: dict[str, Any] = {
    "type": "object",
    "properties": {"query": {"type": "string", "description": "Words to look for."}},
    "required": ["query"],
    "additionalProperties": False,
}
FUNCTIONS = (
    Tool("get_current_time", "utility", "The current time in UTC.", parameters=NOTHING),
    Tool("search_conversations", "conversation", "Searches the user's own earlier conversations.", parameters=_QUERY),
)
TOOLS: dict[str, Tool] = {}
for _tool in (*_hosted_tools(), *FUNCTIONS):
    if _tool.name in TOOLS:
        raise SystemExit(f"MCP_TOOLS: there is another tool named {_tool.name}.")
    TOOLS[_tool.name] = _tool
OPTIONAL = {"web_search"}  # missing where there is no provider key


class Catalog:
    """The agents by key, checked as a whole."""

    def __init__(self, agents: Iterable[Agent], tools: dict[str, Tool]):
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
        if missing := set(agent.tools) - set(self.tools) - OPTIONAL:
            raise ValueError(f"{agent.key} needs unknown tools {sorted(missing)}")
        self._walk(agent, ())
        agent.instructions(**dict.fromkeys(VARIABLES, "-"))

    def _walk(self, agent: Agent, path: tuple[str, ...]) -> None:
        if agent.key in path:
            raise ValueError(f"handoffs go round in a circle: {' -> '.join((*path, agent.key))}")
        for key in agent.handoffs:
            self._walk(self.agents[key], (*path, agent.key))

    def get(self, key: str | None) -> Agent:
        """The agent of this key, the default one for None. AgentNotFound for an unknown key."""
        agent = self.agents.get(key) if key else self.default
        if agent is None:
            raise AgentNotFound(f"Agent '{str(key)[:64]}' not found")
        return agent

    def tools_of(self, agent: Agent) -> list[Tool]:
        return [self.tools[name] for name in agent.tools if name in self.tools]

    def models(self) -> set[str]:
        """Models that a client may ask for."""
        own = {agent.model_name for agent in self.agents.values()}
        return own | {settings.agent_model_default} | set(settings.items(settings.agent_models_allowed))


CATALOG = Catalog(AGENTS, TOOLS)
