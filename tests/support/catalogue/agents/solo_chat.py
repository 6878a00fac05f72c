"""The same agent over the Chat Completions wire."""

from workers.agents.declarations import Agent

AGENT = Agent("solo_chat", "Solo", "Answers alone.", "You answer.", tools=("leave_trace",), model="chat:gpt-5.1")
