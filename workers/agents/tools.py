"""The function tools: what runs here when a model calls them."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from models.conversations.conversation import Conversation
from models.platform.database import release
from models.platform.principal import Principal
from workers.agents.catalog import CATALOG

log = logging.getLogger(__name__)

SHOWN = 5


@dataclass(frozen=True, slots=True)
class ToolsContext:
    """On whose behalf a tool runs."""

    user_id: UUID | None
    tenant_id: UUID


class ToolFailed(Exception):
    """A reason that the model is told."""


def get_current_time(context: ToolsContext) -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def search_conversations(context: ToolsContext, query: str) -> str:
    """The caller's own conversations only: a chat must not quote somebody else's."""
    if not query.strip():
        raise ToolFailed("The query is empty.")
    try:
        hits = Conversation.search(Principal(context.user_id, context.tenant_id), query[:500], limit=20)
    finally:
        release()
    if not hits:
        return "No conversation matches."
    lines = [f"{row.key}: {preview}" for row, preview in hits[:SHOWN]]
    return "\n".join([f"{len(hits)} matching conversations.", *lines])


FUNCTIONS: dict[str, Callable[..., str]] = {
    "get_current_time": get_current_time,
    "search_conversations": search_conversations,
}


def call(name: str, arguments: str, context: ToolsContext, functions: dict[str, Callable[..., str]]) -> str:
    """Run a tool. Whatever goes wrong is said in its output, so that the model can go on."""
    function = functions.get(name)
    if function is None:
        return f"Error: there is no tool named {name}."
    try:
        given: Any = json.loads(arguments or "{}")
    except ValueError:
        return "Error: the arguments are not valid JSON."
    if not _fits(name, given):
        return f"Error: these arguments do not fit {name}."
    try:
        return function(context, **given)
    except ToolFailed as error:
        return f"Error: {error}"
    except Exception:  # a tool's own fault: logged for us, and told to the model without details
        log.exception("tool.failed", extra={"tool": name})
        return f"Error: {name} failed."


def _fits(name: str, given: Any) -> bool:
    """Whether the arguments are what the tool's declaration asks for: all of its texts and nothing else."""
    wanted = (CATALOG.tools[name].parameters or {}).get("properties", {}) if name in CATALOG.tools else None
    if not isinstance(given, dict):
        return False
    return wanted is None or (set(given) == set(wanted) and all(isinstance(value, str) for value in given.values()))
