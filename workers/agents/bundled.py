"""The agents and tools that come with the platform, as the settings configure them."""

from collections.abc import Iterator
from typing import Any

from models.platform.settings import Settings
from workers.agents.declarations import NO_PARAMETERS, Agent, Tool
from workers.agents.providers.models_file import models

COMMON_TOOLS = ("web_search", "get_current_time", "search_conversations")
QUERY: dict[str, Any] = {
    "type": "object",
    "properties": {"query": {"type": "string", "description": "Words to look for."}},
    "required": ["query"],
    "additionalProperties": False,
}
FUNCTIONS = (
    Tool("get_current_time", "utility", "The current time in UTC.", parameters=NO_PARAMETERS),
    Tool("search_conversations", "conversation", "Searches the user's own earlier conversations.", parameters=QUERY),
)
# Keys of an entry of MCP_TOOLS: those that are sent to the provider, and those that are for us.
MCP_SENT = {"server_label", "server_url", "connector_id", "authorization", "require_approval", "allowed_tools"}
MCP_KEYS = MCP_SENT | {"name", "description", "auto_approve_tools", "deny_tools"}


def bundled_agents(settings: Settings) -> tuple[Agent, ...]:
    return (
        Agent(
            "triage",
            "Triage Assistant",
            "Front desk: short, practical answers; passes code and data questions on.",
            "You are $agent_name, the front desk of an assistant service. Address the user as $user_name. Answer briefly "
            "and so that the user can act on it. Pass questions about software to the code assistant and questions about "
            "data or statistics to the data analyst, without announcing it. Say so when you do not know.",
            tools=COMMON_TOOLS,
            handoffs=("code_assistant", "data_analyst"),
            capabilities=("general", "search", "handoff"),
            model=settings.agent_model_triage,
            default=True,
        ),
        Agent(
            "code_assistant",
            "Code Assistant",
            "Software engineering: code, quality, architecture, step by step where it helps.",
            "You are $agent_name. Help $user_name with software engineering: correct code first, then quality and design. "
            "Give steps where they help, name trade-offs, and ask when a requirement is missing.",
            tools=COMMON_TOOLS,
            capabilities=("code", "search"),
            model=settings.agent_model_code,
        ),
        Agent(
            "data_analyst",
            "Data Analyst",
            "Data and statistics: interpretation, methods, checks, and how to show results.",
            "You are $agent_name. Help $user_name to understand data: explain what figures do and do not say, choose sound "
            "methods, suggest a chart and a sanity check where useful.",
            tools=COMMON_TOOLS,
            capabilities=("analysis", "search"),
            model=settings.agent_model_data,
        ),
    )


def bundled_tools(settings: Settings) -> dict[str, Tool]:
    """All tools by name. SystemExit if MCP_TOOLS cannot work."""
    tools: dict[str, Tool] = {}
    for tool in (*_hosted_tools(settings), *FUNCTIONS):
        if tool.name in tools:
            raise SystemExit(f"MCP_TOOLS: there is another tool named {tool.name}.")
        tools[tool.name] = tool
    return tools


def _hosted_tools(settings: Settings) -> Iterator[Tool]:
    if models().offer_hosted_tools:
        web_search = {"type": "web_search", "search_context_size": "medium"}
        container = {"type": "auto", "memory_limit": settings.container_default_auto_memory}
        code_interpreter = {"type": "code_interpreter", "container": container}
        image_generation = {
            "type": "image_generation",
            "size": settings.image_default_size,
            "quality": settings.image_default_quality,
            "output_format": settings.image_default_format,
            "background": settings.image_default_background,
            "partial_images": settings.image_max_partial_images,
        }
        yield Tool("web_search", "web_search", "Searches the web.", hosted=web_search)
        yield Tool("code_interpreter", "code", "Runs Python in a sandbox.", hosted=code_interpreter)
        yield Tool("image_generation", "image", "Makes images.", hosted=image_generation)
    for server in settings.mcp_tools.get_secret_value():
        yield _mcp_tool(server)


def _mcp_tool(server: dict[str, Any]) -> Tool:
    if problem := _mcp_problem(server):
        raise SystemExit(f"MCP_TOOLS: {problem}")
    hosted = {"type": "mcp", "require_approval": "always", **{key: server[key] for key in MCP_SENT & set(server)}}
    if approved := server.get("auto_approve_tools"):
        hosted["require_approval"] = {"never": {"tool_names": approved}}
    return Tool(server["name"], "mcp", server.get("description") or f"MCP server {server['name']}.", hosted=hosted)


def _mcp_problem(server: dict[str, Any]) -> str | None:
    if unknown := set(server) - MCP_KEYS:
        return f"unknown keys {sorted(unknown)}."
    if not server.get("name") or not server.get("server_label"):
        return "every entry needs a name and a server_label."
    if bool(server.get("server_url")) == bool(server.get("connector_id")):
        return f"{server['name']} needs exactly one of server_url and connector_id."
    if set(server.get("auto_approve_tools") or ()) & set(server.get("deny_tools") or ()):
        return f"{server['name']} both approves and denies a tool."
    return None
