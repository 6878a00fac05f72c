"""The function tools: what runs here when a model calls them."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from models.conversations.search import search_own
from models.platform.database import release
from workers.agents.bundled import FUNCTIONS as DECLARED

log = logging.getLogger(__name__)
PARAMETERS = {tool.name: tool.parameters or {} for tool in DECLARED}
QUERY_CHARACTERS = 500
HITS_FOUND, HITS_SHOWN = 20, 5


@dataclass(frozen=True, slots=True)
class ToolsContext:
    """On whose behalf a tool runs. A service account has no `user_id`."""

    user_id: UUID | None
    tenant_id: UUID


class ToolFailed(Exception):
    """The reason is shown to the model."""


def get_current_time(context: ToolsContext) -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def search_conversations(context: ToolsContext, query: str) -> str:
    """Searches the caller's own conversations only: a chat must not quote someone else's."""
    if not query.strip():
        raise ToolFailed("The query is empty.")
    try:
        hits = search_own(context.user_id, context.tenant_id, query[:QUERY_CHARACTERS], HITS_FOUND)
    finally:
        release()
    if not hits:
        return "No conversation matches."
    lines = [f"{hit.key}: {hit.preview}" for hit in hits[:HITS_SHOWN]]
    return "\n".join([f"{len(hits)} matching conversations.", *lines])


Function = Callable[..., str]
FUNCTIONS: dict[str, Function] = {
    "get_current_time": get_current_time,
    "search_conversations": search_conversations,
}


def call(name: str, arguments: str, context: ToolsContext, functions: dict[str, Function]) -> str:
    """Call one of `functions` with JSON arguments and return its output. Never raises an Exception: a failure is
    described in the output, so that the model can go on."""
    function = functions.get(name)
    if function is None:
        return f"Error: there is no tool named {name}."
    try:
        values: Any = json.loads(arguments or "{}")
    except ValueError:
        return "Error: the arguments are not valid JSON."
    if not _match_declaration(name, values):
        return f"Error: these arguments do not fit {name}."
    try:
        return function(context, **values)
    except ToolFailed as error:
        return f"Error: {error}"
    except Exception:  # a bug in the tool: the log has the details, the model gets none
        log.exception("tool.failed", extra={"tool": name})
        return f"Error: {name} failed."


def _match_declaration(name: str, values: Any) -> bool:
    """Whether these are exactly the declared parameters, and all are strings."""
    if not isinstance(values, dict):
        return False
    if name not in PARAMETERS:
        return True
    return set(values) == set(PARAMETERS[name]["properties"]) and all(isinstance(v, str) for v in values.values())
