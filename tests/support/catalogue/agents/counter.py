"""An agent of the tests, whose tool leaves traces."""

from workers.agents.declarations import Agent

AGENT = Agent("counter", "Counter", "Leaves traces.", "You leave traces.", tools=("leave_trace",))
