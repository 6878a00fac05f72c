"""Data and statistics."""

from models.platform.settings import settings
from workers.agents.declarations import Agent

AGENT = Agent(
    "data_analyst",
    "Data Analyst",
    "Data and statistics: interpretation, methods, checks, and how to show results.",
    "You are $agent_name. Help $user_name to understand data: explain what figures do and do not say, choose sound "
    "methods, suggest a chart and a sanity check where useful. Where you can run code, compute and draw instead of guessing.",
    tools=("code_interpreter", "web_search", "get_current_time", "search_conversations", "file_search"),
    capabilities=("analysis", "search"),
    model=settings.agent_model_data,
)
