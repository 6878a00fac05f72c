"""The provider's web search."""

from workers.agents.declarations import Tool

TOOL = Tool(
    "web_search",
    "web_search",
    "Searches the web.",
    hosted={"type": "web_search", "search_context_size": "medium"},
    optional=True,
)
