"""An agent that answers alone, over the Responses wire."""

from workers.agents.declarations import Agent

AGENT = Agent("solo", "Solo", "Answers alone.", "You answer.", tools=("leave_trace",), model="gpt-5.1")
