"""MCP servers that we ask ourselves, against one of the official SDK."""

import json
import re
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from pathlib import Path

import mcp_types as types
import pytest
from mcp import Client

from models.platform import tracing
from tests.support.mcp_server import Server
from tests.support.models import request, turn
from workers.agents.approvals import Decision, WaitsForApproval
from workers.agents.calls import Calls
from workers.agents.catalog import Agent, Catalog, catalog
from workers.agents.functions import ToolFailed, ToolsContext
from workers.agents.journal import Journal
from workers.agents.loop import run_agent
from workers.agents.mcp import sessions
from workers.agents.mcp import tools as mcp
from workers.agents.mcp_servers import servers
from workers.agents.turn import Turn

ROOT = Path(__file__).parents[3]
CONTEXT = ToolsContext(None, None, "key-1")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("mcp")) as found:
        yield found


@pytest.fixture(scope="module")
def legacy_server(tmp_path_factory):
    """Of a revision of the protocol that opens sessions."""
    with Server(tmp_path_factory.mktemp("mcp"), "legacy") as found:
        yield found


@pytest.fixture(params=["server", "legacy_server"])
def each_server(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    monkeypatch.setattr(sessions, "_sessions", [])


@pytest.fixture
def use(configure):
    """use(entry, ...): MCP_TOOLS. Returns the servers."""

    def configured(*entries):
        configure(mcp_tools=list(entries))
        found, faults = servers()
        assert faults == []
        return found

    return configured


def tools_by_name(found):
    """{name of the tool at the server: our tool} of the first server."""
    (tools,) = mcp.tools_of(found).values()
    return {tool.name.partition("__")[2]: tool for tool in tools}


def call(tool, **arguments):
    return tool.function(CONTEXT, **arguments)


# ---------------------------------------------------------------- calls


def test_tools_are_listed_and_called(each_server, use):
    tools = tools_by_name(use(each_server.entry()))
    assert set(tools) >= {"add", "sleep", "large", "fail", "key"}
    add = tools["add"]
    assert (add.name, add.kind, add.repeatable, add.approval) == ("lab__add", "function", True, False)
    assert set(add.parameters["properties"]) == {"a", "b"} and not tools["sleep"].repeatable
    assert call(add, a=1, b=2) == "3"
    assert call(tools["key"]) == "key-1"


@pytest.mark.parametrize("send_trace", [True, False])
def test_only_a_server_that_wants_it_is_told_the_trace(server, use, spans, send_trace):
    with tracing.span("job"):
        tool = tools_by_name(use(server.entry(send_trace=send_trace)))["trace"]
        with tracing.span("call"):
            assert call(tool) == (tracing.current() if send_trace else "None")
            assert tracing.current()


def test_a_tool_that_fails_or_gets_other_arguments_is_an_answer_for_the_model(server, use):
    tools = tools_by_name(use(server.entry()))
    with pytest.raises(ToolFailed, match="fail") as failed:
        call(tools["fail"])
    assert "Traceback" not in str(failed.value)
    with pytest.raises(ToolFailed):
        call(tools["add"], a="many")


def test_a_hundred_calls_at_once_share_a_session(each_server, use):
    tools = tools_by_name(use(each_server.entry()))
    results, threads = [], []
    for number in range(100):
        threads.append(threading.Thread(target=lambda number=number: results.append(call(tools["add"], a=number, b=1))))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(int, results)) == list(range(1, 101))
    assert len(sessions._sessions) == 1


def test_a_call_that_takes_too_long_ends_and_others_go_on(each_server, use):
    tools = tools_by_name(use(each_server.entry(seconds=1)))
    began = time.monotonic()
    with pytest.raises(ToolFailed, match=r"no answer within 1 s|timed out"):
        call(tools["sleep"], seconds=3600)
    assert time.monotonic() - began < 30
    assert call(tools["add"], a=1, b=1) == "2"


def test_a_server_that_starts_again_is_used_again(tmp_path, use):
    with Server(tmp_path, "legacy") as server:
        tools = tools_by_name(use(server.entry()))
        assert call(tools["add"], a=1, b=1) == "2"
        server.kill()
        with pytest.raises(ToolFailed, match=r"cannot be reached|without a response"):
            call(tools["add"], a=1, b=1)
        server.start()
        assert call(tools["add"], a=1, b=1) == "2"


def test_a_call_that_is_cut_with_its_server_fails_and_is_not_made_again(tmp_path, use):
    with Server(tmp_path) as server:
        tools, errors = tools_by_name(use(server.entry())), []

        def sleep():
            try:
                call(tools["sleep"], seconds=3600)
            except ToolFailed as error:
                errors.append(str(error))

        thread = threading.Thread(target=sleep)
        thread.start()
        while "called sleep" not in server.log:
            time.sleep(0.05)
        server.kill()
        thread.join()
        server.start()
        assert call(tools["add"], a=1, b=1) == "2"
        assert errors and server.log.count("called sleep") == 1


def test_the_list_is_asked_for_once_by_a_crowd_and_again_when_it_is_old(server, use, monkeypatch):
    found = use(server.entry())
    before = server.log.count("POST")
    threads = [threading.Thread(target=mcp.tools_of, args=[found]) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asked = server.log.count("POST") - before
    assert asked <= 4  # the session and one list
    session = sessions.session_with(found[0])
    session.listed = session.listed._replace(until=time.monotonic() - 1)
    assert mcp.tools_of(found)["lab"] and server.log.count("POST") - before > asked


def test_an_old_list_is_better_than_none(tmp_path, use):
    with Server(tmp_path) as server:
        found = use(server.entry())
        assert mcp.tools_of(found)["lab"]
    session = sessions.session_with(found[0])
    session.listed = session.listed._replace(until=time.monotonic() - 1)
    assert mcp.tools_of(found)["lab"]


def test_an_unused_session_is_closed_and_opened_again(each_server, use, monkeypatch):
    monkeypatch.setattr(sessions, "IDLE_SECONDS", 0.2)
    found = use(each_server.entry())
    tools = tools_by_name(found)
    session = sessions.session_with(found[0])
    end = time.monotonic() + 30
    while session._connection and time.monotonic() < end:
        time.sleep(0.05)
    assert session._connection is None
    assert call(tools["add"], a=1, b=1) == "2"


# ---------------------------------------------------------------- what a server must not do


@pytest.mark.parametrize("what", ["huge", "gzip", "redirect", "silent"])
def test_answers_that_no_server_should_give_do_no_harm(server, use, monkeypatch, what):
    monkeypatch.setattr(sessions, "OPEN_SECONDS", 3.0)
    found = use(server.entry(server_url=server.bad(what)))
    assert mcp.tools_of(found) == {"lab": None}
    assert "/elsewhere" not in server.log  # another origin must not see the credentials
    if what == "huge":
        end = time.monotonic() + 30
        while "MB before it was cut" not in server.log and time.monotonic() < end:
            time.sleep(0.05)
        assert max(map(int, re.findall(r"sent (\d+) MB", server.log))) < 100


def test_a_wrong_token_gives_no_tools_and_is_not_logged(server, use, caplog):
    assert mcp.tools_of(use(server.entry(authorization="a-secret-that-is-wrong"))) == {"lab": None}
    reasons = [record.reason for record in caplog.records if record.message == "mcp.not_opened"]
    assert "does not accept our credentials" in reasons[0]
    assert "a-secret-that-is-wrong" not in caplog.text


def test_a_server_that_is_down_is_left_alone_for_a_while(use):
    from devstack.process import free_port

    found = use(
        {"name": "gone", "server_label": "gone", "server_url": f"http://127.0.0.1:{free_port()}", "run": "here"}
    )
    assert mcp.tools_of(found) == {"gone": None}
    began = time.monotonic()
    for _ in range(1000):
        mcp.tools_of(found)
    assert time.monotonic() - began < 1


def test_a_list_that_does_not_come_in_time_is_none(server, use, monkeypatch):
    monkeypatch.setattr(mcp, "OPEN_SECONDS", 0)
    assert mcp.tools_of(use(server.entry())) == {server.entry()["name"]: None}


def test_denied_tools_are_not_offered_and_only_allowed_ones_are(server, use):
    assert "add" not in tools_by_name(use(server.entry(deny_tools=["add"])))
    assert set(tools_by_name(use(server.entry(name="b", server_label="b", allowed_tools=["add"])))) == {"add"}


def test_what_needs_approval(server, use):
    tools = tools_by_name(use(server.entry(require_approval="always", auto_approve_tools=["add"])))
    assert (tools["add"].approval, tools["sleep"].approval) == (False, True)
    rule = {"never": {"tool_names": ["sleep"]}}
    tools = tools_by_name(use(server.entry(name="b", server_label="b", require_approval=rule)))
    assert (tools["add"].approval, tools["sleep"].approval) == (True, False)


def test_a_list_without_an_end_is_cut(server, use, monkeypatch):
    found = use(server.entry())
    tool = types.Tool(name="t", input_schema={"type": "object"})
    asked = []

    async def endless(client, *, cursor, cache_mode):
        asked.append(cursor)
        tools = [tool.model_copy(update={"name": f"t{len(asked)}-{number}"}) for number in range(3)]
        return types.ListToolsResult(tools=tools, next_cursor=str(len(asked)), ttl_ms=0, cache_scope="private")

    monkeypatch.setattr(Client, "list_tools", endless)
    assert len(mcp.tools_of(found)["lab"]) == 3 * sessions.MAX_PAGES == 3 * len(asked)


def test_tools_without_usable_parameters_are_left_out(server, use, monkeypatch, caplog):
    found = use(server.entry())
    kinds = [{"type": "string"}, {"type": "object", "x": "y" * 50_000}, {"type": "object"}, {}]
    tools = [types.Tool(name=f"t{number}", input_schema=schema) for number, schema in enumerate(kinds)]

    async def listed(client, *, cursor, cache_mode):
        return types.ListToolsResult(tools=tools, ttl_ms=0, cache_scope="private")

    monkeypatch.setattr(Client, "list_tools", listed)
    assert [tool.name for tool in mcp.tools_of(found)["lab"]] == ["lab__t2"]
    assert [record.tool for record in caplog.records if record.message == "mcp.tool_left_out"] == ["t0", "t1", "t3"]


def test_names_are_safe_short_and_different():
    long = [mcp.name_of("label", "x" * 100 + end) for end in "ab"]
    odd = [mcp.name_of("label", name) for name in ("a b", "a/b", "a.b")]
    assert len({*long, *odd}) == 5
    assert all(len(name) <= 64 and name.startswith("label__") for name in (*long, *odd))
    assert mcp.name_of("label", "plain-name_1") == "label__plain-name_1"


# ---------------------------------------------------------------- in a run


@pytest.fixture
def agents(server, use):
    """agents(entry's fields) -> a catalogue whose agent has the server."""

    def build(**more):
        use(server.entry(**more))
        found = catalog().tools["lab"]
        return Catalog([Agent("a", "A", "d", "p", tools=("lab",))], {"lab": found})

    return build


@pytest.mark.usefixtures("provider")
@pytest.mark.parametrize("wire", ["responses", "chat"])
def test_a_model_calls_the_tools_on_both_wires(agents, configure, wire):
    configure(openai_wire=wire)
    events, result = turn('[[tool=lab__add {"a": 20, "b": 22}]]', "a", agents())
    assert [item["call_output"] for item in result.items if item["type"] == "tool_result"] == [{"value": 42}]
    assert {event["tool_name"] for event in events if event["event"] == "tool_start"} == {"lab__add"}


@pytest.mark.usefixtures("provider")
def test_a_run_goes_on_without_a_server_that_is_down(use):
    use({"name": "lab", "server_label": "lab", "server_url": "http://127.0.0.1:1/mcp", "run": "here"})
    found = Catalog([Agent("a", "A", "d", "p", tools=("lab",))], {"lab": catalog().tools["lab"]})
    events, result = turn("[[text=I can do without]]", "a", found)
    assert result.response_text == "I can do without"
    assert [event["tool_name"] for event in events if event["event"] == "tools_unavailable"] == ["lab"]


@pytest.mark.usefixtures("provider")
def test_a_call_waits_for_approval_and_is_made_after_it(agents, server):
    found = agents(require_approval="always")
    question = request('[[tool=lab__add {"a": 20, "b": 22}]]', "a")
    before = server.log.count("called add 20 22")
    with pytest.raises(WaitsForApproval) as waits:
        list(run_agent(question, agents=found))
    (asked,) = waits.value.requests
    assert (asked.tool_name, asked.arguments) == ("lab__add", {"a": 20, "b": 22})
    assert server.log.count("called add 20 22") == before
    question.decisions = {(asked.scope, asked.number): Decision("approved")}
    list(run_agent(question, agents=found))
    assert server.log.count("called add 20 22") == before + 1


def test_a_hosted_server_that_asks_for_a_denied_tool_is_refused(use, configure):
    configure(openai_api_key="sk-test")
    use({"name": "lab", "server_label": "lab", "server_url": "https://lab.example.com", "deny_tools": ["burn"]})
    agents = Catalog([Agent("a", "A", "d", "p", tools=("lab",))], {"lab": catalog().tools["lab"]})
    calls = Calls(Turn(request("hi", "a"), agents), Journal(), "", nullcontext, None)
    asked = {"type": "mcp_approval_request", "server_label": "lab", "arguments": "{}"}
    calls.add_mcp(1, {**asked, "id": "r1", "name": "burn"})
    calls.add_mcp(2, {**asked, "id": "r2", "name": "look"})
    assert calls.answers[1]["approve"] is False and 2 not in calls.answers
    assert [waiting.call_id for waiting in calls.waiting] == ["r2"]


# ---------------------------------------------------------------- in a gevent worker


GEVENT = """
from gevent import monkey; monkey.patch_all()
import gevent, json, sys, time
from workers.agents.functions import ToolsContext
from workers.agents.mcp import tools as mcp
from workers.agents.mcp_servers import servers

(tools,) = mcp.tools_of(servers()[0]).values()
tools = {tool.name: tool for tool in tools}
context, ticks = ToolsContext(None, None), []

def tick():
    while True:
        ticks.append(time.monotonic())
        gevent.sleep(0.01)

gevent.spawn(tick)
calls = [gevent.spawn(tools["lab__sleep"].function, context, seconds=1) for _ in range(30)]
began = time.monotonic()
gevent.joinall(calls, raise_error=True)
took = time.monotonic() - began
cut = gevent.spawn(tools["lab__sleep"].function, context, seconds=3600)
gevent.sleep(1)
cut.kill()
sums = [tools["lab__add"].function(context, a=1, b=number) for number in range(3)]
print(json.dumps({"took": took, "ticks": len(ticks), "sums": sums, "results": [call.value for call in calls]}))
"""


def test_in_a_gevent_worker_calls_wait_side_by_side_and_can_be_cut(server):
    entry = json.dumps([server.entry()])
    command = [sys.executable, "-c", GEVENT]
    cancelled = server.log.count("sleep was cancelled")
    environment = {"ENVIRONMENT": "test", "MCP_TOOLS": entry, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["results"] == ["rested"] * 30 and found["sums"] == ["1", "2", "3"]
    assert found["took"] < 15 and found["ticks"] > 20  # not one after the other, and others run meanwhile
    end = time.monotonic() + 30
    while server.log.count("sleep was cancelled") == cancelled and time.monotonic() < end:
        time.sleep(0.05)
    assert server.log.count("sleep was cancelled") == cancelled + 1
