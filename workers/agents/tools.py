"""Calling a tool that runs here."""

import json
import logging
from typing import Any

from workers.agents.declarations import Tool
from workers.agents.functions import ToolFailed, ToolsContext, check_arguments

__all__ = ["ToolFailed", "ToolsContext", "call"]
log = logging.getLogger(__name__)


def call(name: str, arguments: str, context: ToolsContext, tool: Tool | None) -> str:
    """Call a tool with JSON arguments and return its output. Never raises an Exception: a failure is described in the
    output, so that the model can go on. `name`: what the model called; `tool` is None if the agent has none of that name."""
    if tool is None or tool.function is None:
        return f"Error: there is no tool named {name}."
    try:
        values: Any = json.loads(arguments or "{}")
    except ValueError:
        return "Error: the arguments are not valid JSON."
    try:
        return tool.function(context, **check_arguments(tool, values))
    except ToolFailed as error:
        return f"Error: {error}"
    except Exception:  # a bug in the tool: the log has the details, the model gets none
        log.exception("tool.failed", extra={"tool": name})
        return f"Error: {name} failed."
