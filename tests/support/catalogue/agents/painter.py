"""An agent that makes images, and runs code."""

from workers.agents.declarations import Agent

TOOLS = ("image_generation", "code_interpreter", "leave_trace")
AGENT = Agent("painter", "Painter", "Makes images.", "You paint.", tools=TOOLS)
