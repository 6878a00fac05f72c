"""The function tools: what runs here when a model calls them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from models.conversations.conversation import Conversation
from models.platform.database import release
from models.platform.principal import Principal

QUERY_CHARACTERS = 500
HITS_FOUND, HITS_SHOWN = 20, 5


@dataclass(frozen=True, slots=True)
class ToolsContext:
    """On whose behalf a tool runs. A service account has no `user_id`.

    `idempotency_key`: the same for every attempt of one call. Give it to whatever the tool changes.
    """

    user_id: UUID | None
    tenant_id: UUID
    idempotency_key: str = ""


class ToolFailed(Exception):
    """The reason is shown to the model."""


def get_current_time(context: ToolsContext) -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def search_conversations(context: ToolsContext, query: str) -> str:
    """Searches the caller's own conversations only: a chat must not quote someone else's."""
    if not query.strip():
        raise ToolFailed("The query is empty.")
    principal = Principal(context.user_id, context.tenant_id)
    try:
        hits = Conversation.search(principal, query[:QUERY_CHARACTERS], limit=HITS_FOUND)
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
