"""The tools of MCP servers as tools of ours, named <label>__<tool>."""

import asyncio
import json
import logging
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Any

import mcp_types as types
from mcp import MCPError

from workers.agents.declarations import Tool
from workers.agents.functions import ToolFailed, ToolsContext
from workers.agents.mcp import bridge
from workers.agents.mcp.sessions import OPEN_SECONDS, Session, session_with
from workers.agents.mcp_servers import McpServer

log = logging.getLogger(__name__)
NAME_CHARACTERS = 64  # that providers accept
DESCRIPTION_CHARACTERS, SCHEMA_CHARACTERS = 4_000, 30_000  # of one tool: every request to the model contains them
IDEMPOTENCY_KEY = "longshore/idempotency-key"  # in the `_meta` of a call


def tools_of(servers: Sequence[McpServer]) -> dict[str, list[Tool] | None]:
    """The tools of each server by its name; None for one that does not say what it has."""
    sessions = [session_with(server) for server in servers]
    if not all(session.fresh() for session in sessions):
        with suppress(TimeoutError):  # the loop is overloaded: a run goes on with what is known
            bridge.run(_list_all(sessions), 2 * OPEN_SECONDS)
    return {session.server.name: _as_tools(session) for session in sessions}


async def _list_all(sessions: Iterable[Session]) -> None:
    """Each session remembers what comes of it."""
    await asyncio.gather(*(session.tools() for session in sessions), return_exceptions=True)


def _as_tools(session: Session) -> list[Tool] | None:
    if session.listed is None or session.listed.tools is None:
        return None
    tools: dict[str, Tool] = {}
    for declared in session.listed.tools:
        tool = _as_tool(session, declared)
        if tool.name in tools or not _is_usable(declared):
            log.warning("mcp.tool_left_out", extra={"server": session.server.name, "tool": declared.name[:100]})
        else:
            tools[tool.name] = tool
    return list(tools.values())


def _is_usable(declared: types.Tool) -> bool:
    schema = declared.input_schema
    return schema.get("type") == "object" and len(json.dumps(schema)) <= SCHEMA_CHARACTERS


def _as_tool(session: Session, declared: types.Tool) -> Tool:
    server, hints = session.server, declared.annotations

    def call(context: ToolsContext, /, **arguments: object) -> str:
        return _call(session, declared.name, context, arguments)

    return Tool(
        name_of(server.server_label, declared.name),
        "mcp",
        (declared.description or declared.title or declared.name)[:DESCRIPTION_CHARACTERS],
        declared.input_schema,
        function=call,
        seconds=server.seconds,
        # The operator has chosen the server, so that it is believed what it says of itself.
        repeatable=bool(hints and (hints.read_only_hint or hints.idempotent_hint)),
        approval=server.needs_approval(declared.name),
    )


def name_of(label: str, tool: str) -> str:
    """A name that providers accept, another one for each tool."""
    plain = f"{label}__{tool}"
    name = re.sub(r"[^a-zA-Z0-9_-]", "_", plain)
    if name == plain and len(name) <= NAME_CHARACTERS:
        return name
    digest = sha256(plain.encode()).hexdigest()[:8]
    return f"{name[: NAME_CHARACTERS - len(digest) - 1]}_{digest}"


def _call(session: Session, name: str, context: ToolsContext, arguments: dict[str, object]) -> str:
    meta: Any = {IDEMPOTENCY_KEY: context.idempotency_key} if context.idempotency_key else None
    seconds = session.server.seconds
    try:
        result = bridge.run(session.call(name, arguments, seconds, meta), seconds)
    except MCPError as error:
        raise ToolFailed(error.error.message) from error
    except TimeoutError as error:
        raise ToolFailed(f"The server gave no answer within {seconds:g} s.") from error
    text = "\n".join(map(_text_of, result.content))
    if not text and result.structured_content is not None:
        text = json.dumps(result.structured_content)
    if result.is_error:
        raise ToolFailed(text or "The tool failed.")
    return text


def _text_of(block: types.ContentBlock) -> str:
    """Models read text, so other contents are only named."""
    if isinstance(block, types.TextContent):
        return block.text
    if isinstance(block, types.ResourceLink):
        return str(block.uri)
    if isinstance(block, types.EmbeddedResource):
        resource = block.resource
        return resource.text if isinstance(resource, types.TextResourceContents) else f"[{resource.uri}]"
    return f"[{block.mime_type}, left out]"
