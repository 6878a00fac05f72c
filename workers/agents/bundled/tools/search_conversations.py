"""The caller's own conversations. A chat must not quote someone else's."""

from typing import Annotated

from pydantic import Field

from models.conversations.search import search_own
from models.platform.database import release
from workers.agents.functions import ToolFailed, ToolsContext, tool

QUERY_CHARACTERS = 500
HITS_FOUND, HITS_SHOWN = 20, 5


@tool("conversation")
def search_conversations(context: ToolsContext, query: Annotated[str, Field(description="Words to look for.")]) -> str:
    """Searches the user's own earlier conversations."""
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
