"""What is wrong with a catalogue. All faults are found at once, and none of them lets a process start."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from workers.agents.declarations import HISTORIES, VARIABLES, Agent, FileSearch, Tool, agent_tool, is_function_name

MAX_DEPTH = 3  # agents that wait for each other's answers
MOST_RESULTS = 50  # of a search


class Fault(NamedTuple):
    """`field`: of the declaration, None for all of it."""

    kind: Literal["agent", "tool"]
    name: str
    field: str | None
    text: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}: {self.text}"


def faults(agents: Mapping[str, Agent], tools: Mapping[str, Tool], absent: Mapping[str, Tool]) -> Iterator[Fault]:
    """All faults of agents and tools, by name, that are to work together. `absent`: tools that no provider runs here."""
    for tool in (*tools.values(), *absent.values()):
        yield from _of_tool(tool)
    for agent in agents.values():
        yield from _of_agent(agent, agents)
        yield from _of_needs(agent, tools, absent)
    defaults = sorted(agent.key for agent in agents.values() if agent.default)
    for key in defaults[1:]:
        yield Fault("agent", key, "default", f"{defaults[0]} is a default agent too, and there can be one")
    cycles = list(_cycles(agents))
    for path in cycles:
        yield Fault("agent", path[0], "handoffs", f"handoffs and agents as tools form a cycle: {' -> '.join(path)}")
    if not cycles:
        yield from _too_deep(agents)


def _of_tool(tool: Tool) -> Iterator[Fault]:
    def fault(field: str | None, text: str) -> Fault:
        return Fault("tool", tool.name, field, text)

    if not is_function_name(tool.name):
        yield fault("name", "a name has letters, digits, - and _, and 64 of them at most")
    if not tool.description.strip():
        yield fault("description", "has no description")
    if tool.server is None and (tool.hosted is None) == (tool.function is None):
        yield fault(None, "needs either `hosted` or a function")
    if tool.seconds <= 0:
        yield fault("seconds", "must be more than 0")
    if tool.when_cut not in ("model", "person"):
        yield fault("when_cut", "must be model or person")
    if tool.hosted is not None and tool.approval is not False:
        yield fault("approval", "the provider runs it, so that nobody can be asked here")


def _of_needs(agent: Agent, tools: Mapping[str, Tool], absent: Mapping[str, Tool]) -> Iterator[Fault]:
    if missing := set(agent.tools) - set(tools) - set(absent):
        yield Fault("agent", agent.key, "tools", f"needs unknown tools {sorted(missing)}")
    if missing := {name for name in agent.tools if name in absent and not absent[name].optional}:
        advice = ': write "run": "here" in MCP_TOOLS' if any(absent[name].server for name in missing) else ""
        yield Fault("agent", agent.key, "tools", f"needs {sorted(missing)}, which no provider runs here{advice}")


def _of_agent(agent: Agent, agents: Mapping[str, Agent]) -> Iterator[Fault]:
    def fault(field: str, text: str) -> Fault:
        return Fault("agent", agent.key, field, text)

    if not is_function_name(agent.key):
        yield fault("key", "a key has letters, digits, - and _, and 64 of them at most")
    if not agent.description.strip():
        yield fault("description", "has no description")
    if missing := {handoff.agent for handoff in agent.targets} - set(agents):
        yield fault("handoffs", f"hands off to unknown agents {sorted(missing)}")
    if missing := set(agent.agent_tools) - set(agents):
        yield fault("agent_tools", f"asks unknown agents {sorted(missing)}")
    for history in {agent.history, *(handoff.history for handoff in agent.targets)} - {None, *HISTORIES}:
        yield fault("history" if history == agent.history else "handoffs", f"{history!r} is none of {HISTORIES}")
    functions = [*agent.tools, *(handoff.tool for handoff in agent.targets), *map(agent_tool, agent.agent_tools)]
    for name, count in Counter(functions).items():
        if count > 1:
            yield fault("tools", f"has more than one tool named {name}")
        if not is_function_name(name):
            yield fault("handoffs", f"{name!r} cannot be the name of a tool")
    if text := _prompt_fault(agent):
        yield fault("prompt", text)
    for text in _search_faults(agent.file_search):
        yield fault("file_search", text)


def _search_faults(options: FileSearch) -> Iterator[str]:
    if isinstance(options.stores, str) or not options.stores or not all(options.stores):
        yield "stores must be a tuple of names or ids"
    if not 1 <= options.results <= MOST_RESULTS:
        yield f"results must be between 1 and {MOST_RESULTS}"
    if options.score_threshold is not None and not 0 <= options.score_threshold <= 1:
        yield "score_threshold must be between 0 and 1"


def _prompt_fault(agent: Agent) -> str | None:
    try:
        agent.instructions(**dict.fromkeys(VARIABLES, "-"))
    except KeyError as unknown:
        return f"the prompt uses the unknown variable ${unknown.args[0]}"
    except ValueError:
        return "the prompt has a $ without a variable: write $$ for a dollar sign"
    return None


def _cycles(agents: Mapping[str, Agent]) -> Iterator[tuple[str, ...]]:
    """One path for each agent from which the conversation may come back to it."""
    reaches = {
        key: {*(handoff.agent for handoff in agent.targets), *agent.agent_tools} & set(agents)
        for key, agent in agents.items()
    }
    reported: set[str] = set()
    for key in agents:
        path = _path_back(key, reaches)
        if path and not reported & set(path):
            reported |= set(path)
            yield path


def _too_deep(agents: Mapping[str, Agent]) -> Iterator[Fault]:
    depths: dict[str, int] = {}

    def depth(key: str) -> int:
        """How many agents may come to wait for each other's answers below this one."""
        if key not in depths:
            agent = agents[key]
            handoffs = [depth(handoff.agent) for handoff in agent.targets if handoff.agent in agents]
            depths[key] = max(0, *handoffs, *(depth(asked) + 1 for asked in agent.agent_tools if asked in agents), 0)
        return depths[key]

    for key, agent in agents.items():
        if agent.agent_tools and depth(key) > MAX_DEPTH:
            yield Fault("agent", key, "agent_tools", f"more than {MAX_DEPTH} agents ask each other below it")


def _path_back(start: str, reaches: Mapping[str, set[str]]) -> tuple[str, ...] | None:
    paths: list[tuple[str, ...]] = [(start,)]
    seen: set[str] = set()
    while paths:
        path = paths.pop(0)
        for key in sorted(reaches[path[-1]]):
            if key == start:
                return (*path, key)
            if key not in seen:
                seen.add(key)
                paths.append((*path, key))
    return None
