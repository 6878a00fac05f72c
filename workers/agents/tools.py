"""The function tools: what runs here when a model calls them."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from models.base import release
from models.conversations import Conversation
from models.principal import Principal

SHOWN = 5


@dataclass(frozen=True, slots=True)
class ToolsContext:
    """On whose behalf a tool runs."""

    user_id: UUID
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


def call(name: str, arguments: str, context: ToolsContext, functions: dict[str, Callable[..., str]] = FUNCTIONS) -> str:
    """Run a tool. Whatever goes wrong is said in its output, so that the model can go on."""
    function = functions.get(name)
    if function is None:
        return f"Error: there is no tool named {name}."
    try:
        given: Any = json.loads(arguments or "{}")
        if not isinstance(given, dict):
            raise ToolFailed("The arguments must be a JSON object.")
        return function(context, **given)
    except ValueError:
        return "Error: the arguments are not valid JSON."
    except TypeError:
        return f"Error: these arguments do not fit {name}."
    except ToolFailed as error:
        return f"Error: {error}"
