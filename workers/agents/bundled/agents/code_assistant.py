"""Software engineering."""

from models.platform.settings import settings
from workers.agents.declarations import Agent

AGENT = Agent(
    "code_assistant",
    "Code Assistant",
    "Software engineering: code, quality, architecture, step by step where it helps.",
    "You are $agent_name. Help $user_name with software engineering: correct code first, then quality and design. "
    "Give steps where they help, name trade-offs, and ask when a requirement is missing.",
    tools=("web_search", "get_current_time", "search_conversations", "file_search"),
    capabilities=("code", "search"),
    model=settings.agent_model_code,
)
