"""Python in the provider's sandbox."""

from models.platform.settings import settings
from workers.agents.declarations import Tool

CONTAINER = {"type": "auto", "memory_limit": settings.container_default_auto_memory}

TOOL = Tool(
    "code_interpreter",
    "code",
    "Runs Python in a sandbox.",
    hosted={"type": "code_interpreter", "container": CONTAINER},
    optional=True,
)
