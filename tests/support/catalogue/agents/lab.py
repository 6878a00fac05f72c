"""An agent that uses the tools of the MCP server of the tests."""

from workers.agents.declarations import Agent

AGENT = Agent("lab", "Lab", "Uses an MCP server.", "You work in a lab.", tools=("lab",))
