"""Agents, tools and MCP servers of an installation, with real processes."""

import pytest

EDITOR = """
from workers.agents.declarations import Agent

AGENT = Agent("editor", "Editor", "{description}", "You shorten texts.", tools=("count_words",))
"""
COUNT_WORDS = '''
from workers.agents.functions import ToolsContext, tool


@tool("utility")
def count_words(context: ToolsContext, text: str) -> str:
    """Counts the words of a text."""
    return f"{len(text.split())} {UNIT}"


UNIT = "words"
'''


def outputs(live, message, agent, **more):
    """What the tools of a chat have answered."""
    with live.chat(message, agent_type=agent, **more) as (_, stream):
        events = [event for _, event in stream]
    assert events[-1]["is_terminal"] and events[-1]["kind"] == "run_item", events[-1]
    return [event["payload"]["output"] for event in events if event["run_item_name"] == "tool_output"]


@pytest.mark.parametrize("model", ["gpt-5.1", "chat:gpt-5.1"])
def test_a_gevent_worker_calls_the_tools_of_an_mcp_server_on_both_wires(live, model):
    options = {"run_options": {"run_config": {"model": model}}}
    message = '[[tool=lab__add {"a": 20, "b": 22}]] [[tool=lab__key]]'
    found = sorted(outputs(live, message, "lab", **options), key=len)
    assert found[0] == "42" and len(found[1]) >= 32  # the idempotency key


def test_a_cancel_reaches_a_call_at_an_mcp_server(live, wait_until):
    before = live.mcp_server.log.count("sleep was cancelled")
    calls = live.mcp_server.log.count("called sleep")
    with live.chat('[[tool=lab__sleep {"seconds": 3600}]]', agent_type="lab") as (run_id, stream):
        wait_until(lambda: live.mcp_server.log.count("called sleep") > calls, 30)
        live.http.post(f"/api/v1/runs/{run_id}/cancel")
        assert list(stream)[-1][1]["event"] == "cancelled"
    wait_until(lambda: live.mcp_server.log.count("sleep was cancelled") > before, 30)


def test_a_file_is_an_agent_within_seconds_and_a_faulty_one_changes_nothing(live, wait_until):
    from pathlib import Path

    folder = Path(live.stack.env["AGENTS_PATH"])
    agent, tool = folder / "agents" / "editor.py", folder / "tools" / "count_words.py"

    def description():
        agents = {agent["name"]: agent for agent in live.http.get("/api/v1/agents").json()}
        return agents.get("editor", {}).get("description")

    try:
        tool.write_text(COUNT_WORDS)
        agent.write_text(EDITOR.format(description="Shortens texts."))
        wait_until(lambda: description() == "Shortens texts.")
        message = '[[tool=count_words {"text": "one two three"}]]'
        wait_until(lambda: outputs(live, message, "editor") == ["3 words"])
        agent.write_text("def")
        tool.write_text(COUNT_WORDS.replace('"words"', '"of them"'))
        assert description() == "Shortens texts."
        agent.write_text(EDITOR.format(description="Cuts texts."))
        wait_until(lambda: description() == "Cuts texts.")
        wait_until(lambda: outputs(live, message, "editor") == ["3 of them"])
    finally:
        agent.unlink()
        tool.unlink()
    wait_until(lambda: description() is None)
