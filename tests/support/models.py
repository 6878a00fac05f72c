"""Stand-ins of model providers for the tests of agents, and turns of an agent."""

import contextlib
import os
import sys
import uuid

from devstack.process import Process, free_port, responds, wait_for

TENANT_ID, USER_ID = uuid.uuid4(), uuid.uuid4()


@contextlib.contextmanager
def standin(folder, wires="responses chat"):
    """The base URL of a stand-in that speaks these wires."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "-k", "gevent", "--worker-connections", "10000"]
    command += ["--no-control-socket", "-b", f"127.0.0.1:{port}", f"devstack.openai.server:create_app('{wires}')"]
    process = Process(command, folder / "log", env={**os.environ, "STANDIN_FOLDER": str(folder)})
    try:
        wait_for(lambda: responds(f"http://127.0.0.1:{port}/health"), process, "the stand-in")
        yield f"http://127.0.0.1:{port}/v1"
        assert "Traceback" not in (log := process.log.read_text()), log
    finally:
        process.stop()


def function_tools(**functions):
    """{name: a tool that is this function, without parameters that are declared or checked}."""
    from workers.agents.declarations import Tool

    return {name: Tool(name, "utility", name, function=function) for name, function in functions.items()}


def replace_tool(monkeypatch, name, function):
    """A tool of the catalogue runs another function until the end of the test."""
    from dataclasses import replace

    from workers.agents.catalog import catalog

    monkeypatch.setitem(catalog().tools, name, replace(catalog().tools[name], function=function))


def request(message, agent="triage", history=(), **more):
    from workers.agents.turn import TurnRequest

    messages = [*history, {"role": "user", "content": message}]
    return TurnRequest(
        agent=agent, history=messages, conversation_id="c1", user_id=USER_ID, tenant_id=TENANT_ID, **more
    )


def collect(running):
    """(events, result) of a generator of events. An error that it raises has the `events` until then."""
    events = []
    while True:
        try:
            events.append(next(running))
        except StopIteration as end:
            return events, end.value
        except Exception as error:
            error.events = events
            raise


def turn(message, agent="triage", agents=None, history=(), **more):
    """(events, result) of one question."""
    from workers.agents.loop import run_agent

    return collect(run_agent(request(message, agent, history, **more), agents=agents))
