"""The servers of MCP_TOOLS."""

from typing import Any

from models.platform.settings import settings
from workers.agents.declarations import Tool

# Keys of an entry of MCP_TOOLS: those that are sent to the provider, and those that are for us.
SENT = {"server_label", "server_url", "connector_id", "authorization", "require_approval", "allowed_tools"}
KEYS = SENT | {"name", "description", "auto_approve_tools", "deny_tools"}


def mcp_tools() -> tuple[list[Tool], list[str]]:
    """A tool for each server, and a line for each entry that cannot work."""
    tools, faults = [], []
    for server in settings.mcp_tools.get_secret_value():
        if problem := _problem(server):
            faults.append(f"MCP_TOOLS: {problem}")
        else:
            tools.append(_tool(server))
    return tools, faults


def _tool(server: dict[str, Any]) -> Tool:
    hosted = {"type": "mcp", "require_approval": "always", **{key: server[key] for key in SENT & set(server)}}
    if approved := server.get("auto_approve_tools"):
        hosted["require_approval"] = {"never": {"tool_names": approved}}
    return Tool(server["name"], "mcp", server.get("description") or f"MCP server {server['name']}.", hosted=hosted)


def _problem(server: dict[str, Any]) -> str | None:
    if unknown := set(server) - KEYS:
        return f"unknown keys {sorted(unknown)}."
    if not server.get("name") or not server.get("server_label"):
        return "every entry needs a name and a server_label."
    if bool(server.get("server_url")) == bool(server.get("connector_id")):
        return f"{server['name']} needs exactly one of server_url and connector_id."
    if set(server.get("auto_approve_tools") or ()) & set(server.get("deny_tools") or ()):
        return f"{server['name']} both approves and denies a tool."
    return None
