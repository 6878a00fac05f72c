"""The clock."""

from datetime import UTC, datetime

from workers.agents.functions import ToolsContext, tool


@tool("utility")
def get_current_time(context: ToolsContext) -> str:
    """The current time in UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
