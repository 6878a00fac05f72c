"""The organisation's files. What it finds is cited: see docs/agents.md."""

from typing import Annotated

from pydantic import Field

from workers.agents.functions import ToolFailed, ToolsContext, tool

QUERY_CHARACTERS = 1000


@tool("files", seconds=60)
def file_search(
    context: ToolsContext,
    query: Annotated[str, Field(description="What to look for: a question, or words of the answer.")],
) -> str:
    """Searches the files of the user's organisation by meaning and by words, and returns the passages that fit best."""
    from workers.agents.file_search import search

    if not query.strip():
        raise ToolFailed("The query is empty.")
    return search(context, query[:QUERY_CHARACTERS])
