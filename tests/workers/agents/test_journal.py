"""An attempt that is cut anywhere is followed by one that goes on: no finished step is repeated, no event is lost or doubled."""

import itertools
import threading

import pytest

from tests.support.models import request
from workers.agents.catalog import Agent, Catalog, Tool
from workers.agents.journal import Journal
from workers.agents.loop import run_agent

pytestmark = pytest.mark.usefixtures("provider")


class Cut(BaseException):
    """Stands for the end of a process."""


class Attempts:
    """The attempts of one run, whose journal and stream outlive them."""

    def __init__(self, message, agents, agent="helper", **more):
        self.request, self.agents, self.events, self.steps = request(message, agent, **more), agents, [], {}
        self.journal = None

    def __call__(self, cut_after=None):
        """One attempt. `cut_after`: it ends after this many events. Returns the result, or None if it was cut."""
        if self.journal:
            last = max((step.sequence or 0 for step in self.steps.values() if not step.scope), default=0)
            self.journal = Journal(self.steps.values(), self.events[last:], run_id=self.journal.run_id)
        else:
            self.journal = Journal()
        self.journal.steps = self.steps = dict(self.steps)
        running = run_agent(self.request, agents=self.agents, journal=self.journal, flush=lambda: len(self.events))
        try:
            for number in itertools.count(1):
                self.events.append(next(running))
                if number == cut_after:
                    running.close()
                    return None
        except StopIteration as end:
            return end.value

    def sent(self):
        """What was sent of calls and agents: (event, tool, agent). A response that is asked for again has its events again."""
        return [identity(event) for event in self.events if (event["run_item_name"] or event["event"]) in OF_CALLS]


OF_CALLS = ("tool_called", "tool_start", "tool_end", "tool_output", "agent_start")
OF_CALLS += ("handoff_requested", "handoff_occured", "handoff")


def identity(event):
    return (event["run_item_name"] or event["event"], event["tool_name"], event["agent"])


@pytest.fixture
def made():
    """(tool, idempotency key) of each call that was made."""
    CALLS.clear()
    return CALLS


CALLS, LOCK = [], threading.Lock()


def function(name):
    def call(context):
        with LOCK:
            CALLS.append((name, context.idempotency_key))
        return f"{name} is done"

    return call


def tool(name, **more):
    return Tool(name, "utility", "d", **{"function": function(name), **more})


def helper(*names, **more):
    declared = {name: tool(name, **more.pop(name, {})) for name in names}
    expert = Agent("expert", "Expert", "d", "You know.", tools=("one",))
    agent = Agent(
        "helper", "Helper", "d", "You help.", tools=names, agent_tools=("expert",), handoffs=("other",), **more
    )
    return Catalog([agent, expert, Agent("other", "Other", "d", "You too.")], {"one": tool("one"), **declared})


@pytest.mark.parametrize(
    "message",
    [
        "[[text=Just this]]",
        "[[tool=one]]",
        "[[tool=one tool=two tool=three]]",
        "[[tool=one handoff=other]]",
        "[[handoff=other]]",
        '[[tool=ask_expert {"input": "[[tool=one]]"}]]',
        '[[tool=ask_expert {"input": "[[tool=one]]"} tool=two handoff=other]]',
        "[[tool=nonsense tool=two]]",
    ],
)
def test_wherever_it_is_cut_each_call_is_made_once_and_each_event_sent_once(made, configure, message):
    configure(agent_tools_at_once=1)
    agents = helper("one", "two", "three")
    whole = Attempts(message, agents)
    expected, calls = whole(), sorted(name for name, _ in made)
    for cut in range(1, len(whole.events)):
        made.clear()
        attempts = Attempts(message, agents)
        assert attempts(cut) is None
        result = attempts()
        assert sorted(name for name, _ in made) == calls
        assert (result.response_text, result.answering_agent) == (expected.response_text, expected.answering_agent)
        assert [item["type"] for item in result.items] == [item["type"] for item in expected.items]
        assert result.usage == expected.usage
        assert attempts.sent() == whole.sent(), cut
