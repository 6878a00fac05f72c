"""The catalogue: files of agents and tools, their faults, and changes while a process runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.models import function_tools, turn
from workers.agents import reading
from workers.agents.catalog import Agent, AgentNotFound, Catalog, catalog
from workers.agents.declarations import Handoff

ROOT = Path(__file__).parents[3]
EDITOR = """
from workers.agents.declarations import Agent

AGENT = Agent(
    "editor",
    "Editor",
    "Shortens texts.",
    "Shorten what $user_name sends you.",
    tools=("count_words",),
)
"""
COUNT_WORDS = '''
from workers.agents.functions import ToolFailed, ToolsContext, tool


@tool("utility")
def count_words(context: ToolsContext, text: str) -> str:
    """Counts the words of a text."""
    return str(len(text.split()))
'''


def agent(key, prompt="p", **more):
    return Agent(key, key.upper(), "d", prompt, **more)


@pytest.fixture
def folder(tmp_path, configure):
    """folder({"agents/editor.py": text}): these files are in AGENTS_PATH, besides those of earlier calls."""

    def write(files):
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
        configure(agents_path=str(tmp_path))
        return tmp_path

    return write


@pytest.fixture
def soon(monkeypatch):
    """Changed files are seen at once, not within a second."""
    monkeypatch.setattr(reading, "CHECK_SECONDS", 0.0)


def refused():
    with pytest.raises(SystemExit) as refusal:
        catalog()
    return str(refusal.value)


# ---------------------------------------------------------------- what fits together


@pytest.mark.parametrize(
    ("agents", "fault"),
    [
        ([agent("a", handoffs=("b",)), agent("b", handoffs=("a",))], "form a cycle: a -> b -> a"),
        ([agent("a", handoffs=("b",)), agent("b", agent_tools=("a",))], "form a cycle: a -> b -> a"),
        ([agent("a", agent_tools=("a",))], "form a cycle: a -> a"),
        ([agent("a", handoffs=("nobody",))], "hands off to unknown agents ['nobody']"),
        ([agent("a", agent_tools=("nobody",))], "asks unknown agents ['nobody']"),
        ([agent("a", tools=("no_such_tool",))], "needs unknown tools ['no_such_tool']"),
        ([agent("a", default=True), agent("b", default=True)], "a is a default agent too"),
        (
            [agent(k, agent_tools=n) for k, n in zip("abcde", ("b", "c", "d", "e", ()), strict=True)],
            "more than 3 agents",
        ),
        ([agent("no spaces")], "a key has letters"),
        ([agent("a", history="some")], "'some' is none of"),
        ([agent("a", handoffs=(Handoff("b", history="some"),)), agent("b")], "'some' is none of"),
        ([agent("a", handoffs=(Handoff("b", tool_name="go there"),)), agent("b")], "'go there' cannot be the name"),
        (
            [agent("a", ("p"), tools=("t",), handoffs=(Handoff("b", tool_name="t"),)), agent("b")],
            "more than one tool named t",
        ),
        ([agent("a", "Hello $unknown")], "unknown variable $unknown"),
        ([agent("a", "It costs $5")], "write $$"),
    ],
)
def test_a_catalogue_that_does_not_fit_together_is_refused(agents, fault):
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 - the text is what matters
        Catalog(agents, function_tools(t=lambda context: ""))
    assert fault in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1


def test_all_faults_are_told_at_once():
    with pytest.raises(ValueError, match="nobody") as refusal:
        Catalog([agent("a", "$x", handoffs=("nobody",)), agent("b", tools=("nothing",))], {})
    assert len(str(refusal.value).splitlines()) == 3


def test_agents_that_meet_again_further_down_are_no_cycle():
    Catalog([agent("a", handoffs=("b", "c")), agent("b", handoffs=("d",)), agent("c", handoffs=("d",)), agent("d")], {})


def test_prompts_may_only_use_the_known_variables():
    greeter = agent("a", "Hello $user_name of $tenant_id, $request_message in $place", variables={"place": "Bremen"})
    Catalog([greeter], {})
    assert (
        greeter.instructions(user_name="", tenant_id="t1", request_message="$x?") == "Hello there of t1, $x? in Bremen"
    )
    Catalog([agent("a", "$user_id $tenant_id $conversation_id $agent_key $agent_name $environment $time")], {})


def test_a_service_account_has_no_user_id_and_no_name():
    assert agent("a", "$user_name $user_id").instructions(user_name=None, user_id=None) == "there unknown"


# ---------------------------------------------------------------- settings


def test_the_catalogue_follows_the_settings(configure):
    with pytest.raises(AgentNotFound):
        catalog().get("nobody")
    configure(agent_model_default="small", agent_model_code="large", openai_api_key=None)
    assert {agent.key: agent.model_name for agent in catalog().agents.values()} == {
        "code_assistant": "large",
        "data_analyst": "small",
        "illustrator": "small",
        "librarian": "small",
        "triage": "small",
        "writer": "small",
    }
    assert set(catalog().tools) == {"file_search", "get_current_time", "search_conversations"}
    assert catalog() is catalog()
    configure(openai_api_key="sk-test", mcp_tools=[{"name": "wiki", "server_label": "w", "server_url": "https://w"}])
    assert {"web_search", "wiki"} <= set(catalog().tools)


WIKI = {"name": "wiki", "server_label": "w", "server_url": "https://wiki.example.com"}


@pytest.mark.parametrize(
    ("servers", "fault"),
    [
        ([{"name": "wiki"}], "MCP_TOOLS[0].server_label: Field required"),
        ([WIKI, {"name": "b", "server_label": "b"}], "MCP_TOOLS[1]: needs exactly one of server_url and connector_id"),
        ([{**WIKI, "connector_id": "c"}], "MCP_TOOLS[0]: needs exactly one of"),
        ([{**WIKI, "run": "here", "server_label": "a__b"}], "MCP_TOOLS[0]: a server_label must not contain __"),
        ([{**WIKI, "run": "here", "server_label": "a_"}], "MCP_TOOLS[0]: a server_label must not contain __"),
        ([{**WIKI, "colour": "red"}], "MCP_TOOLS[0].colour: Extra inputs"),
        ([{**WIKI, "name": "get_current_time"}], "MCP_TOOLS: there is another tool named get_current_time"),
        ([WIKI, {**WIKI, "server_label": "x"}], "MCP_TOOLS: two servers have the name wiki"),
        ([WIKI, {**WIKI, "name": "x"}], "MCP_TOOLS: two servers have the server_label w"),
        ([{**WIKI, "deny_tools": ["a"], "allowed_tools": ["a"]}], "MCP_TOOLS[0]: both allows and denies a tool"),
        ([{**WIKI, "deny_tools": ["a"], "auto_approve_tools": ["a"]}], "MCP_TOOLS[0]: both allows and denies a tool"),
        ([{**WIKI, "deny_tools": ["a"], "require_approval": "never"}], "write allowed_tools instead"),
        ([{**WIKI, "server_url": None, "connector_id": "c", "run": "here"}], "only the provider can run a connector"),
        ([{**WIKI, "server_url": "file:///etc/passwd"}], "MCP_TOOLS[0].server_url: String should match"),
        ([{**WIKI, "require_approval": "sometimes"}], "MCP_TOOLS[0].require_approval"),
        ([{**WIKI, "seconds": 0}], "MCP_TOOLS[0].seconds: Input should be greater than 0"),
    ],
)
def test_mcp_servers_that_cannot_work_are_refused(configure, servers, fault):
    configure(mcp_tools=[{"authorization": "a-secret-of-the-server", **server} for server in servers])
    told = refused()
    assert fault in told and "a-secret" not in told


def test_a_hosted_mcp_server_is_declared_to_the_provider_with_what_it_may(configure):
    more = {"authorization": "t-1234567", "headers": {"X-Key": "k-1234567"}, "auto_approve_tools": ["a"]}
    configure(openai_api_key="sk-test", mcp_tools=[{**WIKI, **more, "deny_tools": ["b"]}])
    assert catalog().tools["wiki"].hosted == {
        "type": "mcp",
        "server_label": "w",
        "server_url": "https://wiki.example.com",
        "authorization": "t-1234567",
        "headers": {"X-Key": "k-1234567"},
        "require_approval": {"never": {"tool_names": ["a"]}},
    }
    assert catalog().denies("w", "b") and not catalog().denies("w", "a")


def test_the_credentials_of_mcp_servers_are_blanked_out_of_logs(configure):
    from models.platform.redaction import without_secrets

    entry = {**WIKI, "run": "here", "authorization": "t-1234567", "headers": {"X-Key": "k-1234567"}}
    configure(mcp_tools=[entry])
    assert without_secrets("t-1234567 k-1234567") == "[redacted] [redacted]"
    catalog()
    assert "1234567" not in repr(catalog().tools["wiki"].server)


def test_an_agent_that_needs_a_hosted_mcp_server_is_told_that_we_can_ask_it_ourselves(configure, folder):
    configure(openai_api_key=None, mcp_tools=[WIKI])
    folder({"agents/editor.py": EDITOR.replace("count_words", "wiki")})
    assert 'which no provider runs here: write "run": "here" in MCP_TOOLS' in refused()
    configure(mcp_tools=[{**WIKI, "run": "here"}])
    assert [server.name for server in catalog().servers_of(catalog().get("editor"))] == ["wiki"]


# ---------------------------------------------------------------- files


def test_an_agent_and_a_tool_are_one_file_each(folder):
    folder({"agents/editor.py": EDITOR, "tools/count_words.py": COUNT_WORDS, "tools/_shared.py": "1 / 0"})
    assert [tool.name for tool in catalog().tools_of(catalog().get("editor"))] == ["count_words"]
    assert catalog().default.key == "triage"
    declared = catalog().tools["count_words"]
    assert declared.description == "Counts the words of a text."
    assert declared.parameters == {
        "type": "object",
        "properties": {"text": {"type": "string"}},
        "required": ["text"],
        "additionalProperties": False,
    }


def test_an_own_file_replaces_the_one_of_the_package(folder):
    triage = (
        EDITOR.replace("editor", "triage").replace('"Editor"', '"Reception"').replace('tools=("count_words",),', "")
    )
    folder({"agents/triage.py": triage})
    assert catalog().agents["triage"].display_name == "Reception"
    folder({"agents/editor.py": EDITOR.replace("tools=", "default=True, tools="), "tools/count_words.py": COUNT_WORDS})


def test_an_own_default_agent_replaces_the_default_of_the_package(folder):
    folder({"agents/editor.py": EDITOR.replace('tools=("count_words",)', "default=True")})
    assert catalog().default.key == "editor" and not catalog().agents["triage"].default


FAULTS = {
    "agents/syntax.py": ("x = 1\nif x\n", ":2: expected ':'"),
    "agents/raising.py": ("x = 1\n\nx / 0\n", ":3: ZeroDivisionError: division by zero"),
    "agents/missing.py": ("import not_there_at_all\n", ":1: ModuleNotFoundError"),
    "agents/leaving.py": ("\nraise SystemExit(3)\n", ":2: SystemExit: 3"),
    "agents/empty.py": ("x = 1\n", ":1: declares none: one Agent per file"),
    "agents/two.py": (EDITOR + EDITOR.replace("AGENT", "OTHER"), "declares two: one Agent per file"),
    "agents/named.py": (EDITOR, ":4: declares editor: call the file editor.py"),
    "agents/bound.py": (EDITOR.replace("editor", "bound").replace('"count_words"', '"nothing"'), ":9: agent bound: needs unknown"),
    "agents/asks.py": (EDITOR.replace("editor", "asks").replace("$user", "$no").replace('"count_words",', ""), ":8: agent asks: the prompt uses"),
    "agents/latin.py": (b"x = '\xff'\n", ":1:"),
    "tools/silent.py": (COUNT_WORDS.replace("count_words", "silent").replace('"""Counts the words of a text."""', ""), ":5: TypeError: silent needs a docstring"),
    "tools/untyped.py": (COUNT_WORDS.replace("count_words", "untyped").replace("text: str", "text"), ":5: TypeError: the parameter text"),
    "tools/alone.py": (COUNT_WORDS.replace("count_words(context: ToolsContext, text: str)", "alone()"), ":5: TypeError: the first parameter"),
    "tools/blind.py": (COUNT_WORDS.replace("count_words(context: ToolsContext, ", "blind("), ":5: TypeError: the first parameter of blind must be the context"),
    "tools/many.py": (COUNT_WORDS.replace("count_words", "many").replace("text: str", "*text: str"), ":5: TypeError: many cannot have"),
    "tools/number.py": (COUNT_WORDS.replace("count_words", "number").replace("-> str", "-> int"), ":5: TypeError: number must be"),
    "tools/later.py": (COUNT_WORDS.replace("def count_words", "async def later"), ":5: TypeError: later must be"),
    "tools/odd.py": (COUNT_WORDS.replace("count_words", "odd").replace('"utility"', '"utility", colour=1'), ":5: TypeError"),
    "tools/fast.py": (COUNT_WORDS.replace("count_words", "fast").replace('"utility"', '"utility", seconds=0'), ":5: tool fast: must be more"),
    "tools/strange.py": (COUNT_WORDS.replace("count_words", "strange").replace("text: str", "text: object()"), ":5: TypeError"),
}  # fmt: skip


def test_every_faulty_file_is_told_with_its_line_and_all_at_once(folder):
    root = folder(dict.fromkeys(FAULTS, ""))
    for name, (text, _) in FAULTS.items():
        (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    lines = refused().splitlines()
    for name, (_, fault) in FAULTS.items():
        of_file = [line for line in lines if line.startswith(f"{root / name}:")]
        assert len(of_file) == 1 and fault in of_file[0], (name, of_file)
    assert len(lines) == len(FAULTS)


def test_a_folder_that_is_none_is_refused(configure, tmp_path):
    configure(agents_path=str(tmp_path / "nothing"))
    assert "AGENTS_PATH" in refused()


def test_a_folder_that_cannot_be_read_is_refused_and_not_taken_for_an_empty_one(folder, monkeypatch):
    root = folder({"tools/count_words.py": COUNT_WORDS})
    monkeypatch.setattr("os.access", lambda path, mode: path != root / "tools")  # the tests may run as root
    assert f"may not read {root / 'tools'}" in refused()


def test_in_production_code_that_everybody_may_change_is_refused(folder, configure):
    root = folder({"tools/count_words.py": COUNT_WORDS})
    (root / "tools" / "count_words.py").chmod(0o666)
    assert "count_words" in catalog().tools
    configure(environment="production")
    assert "chmod o-w" in refused()


# ---------------------------------------------------------------- changes


def test_in_development_a_changed_file_is_read_again(folder, soon):
    root = folder({"agents/editor.py": EDITOR, "tools/count_words.py": COUNT_WORDS})
    before = catalog()
    assert catalog() is before
    folder({"agents/editor.py": EDITOR.replace("Shortens texts.", "Cuts texts.")})
    assert (before.agents["editor"].description, catalog().agents["editor"].description) == (
        "Shortens texts.",
        "Cuts texts.",
    )
    (root / "agents" / "editor.py").unlink()
    assert "editor" not in catalog().agents


def test_a_faulty_change_leaves_the_catalogue_as_it_is_and_is_logged_once(folder, soon, caplog):
    folder({"agents/editor.py": EDITOR, "tools/count_words.py": COUNT_WORDS})
    before = catalog()
    folder({"tools/count_words.py": "def"})
    assert catalog() is before and catalog() is before
    faults = [record.faults for record in caplog.records if record.message == "catalogue.faulty"]
    assert len(faults) == 1 and "count_words.py:1: " in faults[0][0]
    folder({"tools/count_words.py": COUNT_WORDS.replace("Counts", "Numbers")})
    assert catalog().tools["count_words"].description.startswith("Numbers")


def test_in_production_nothing_is_looked_at(folder, soon, configure):
    configure(environment="production")
    root = folder({"agents/editor.py": EDITOR, "tools/count_words.py": COUNT_WORDS})
    before = catalog()
    (root / "agents" / "editor.py").unlink()
    assert catalog() is before


def test_the_files_are_looked_at_once_a_second_at_most(folder, monkeypatch):
    looks = []
    folder({"agents/editor.py": EDITOR, "tools/count_words.py": COUNT_WORDS})
    monkeypatch.setattr(reading, "CHECK_SECONDS", 3600.0)
    monkeypatch.setattr(reading, "_stamps", lambda folders: looks.append(folders) or [("a", 1, 1)])
    assert len({id(catalog()) for _ in range(100)}) == 1
    assert len(looks) == 1


# ---------------------------------------------------------------- for the edge, and for operators


def test_reading_the_catalogue_loads_no_actor_and_no_sdk():
    code = (
        "import sys; from workers.agents.catalog import catalog; catalog();"
        "print(*{'openai', 'mcp', 'dramatiq', 'falcon'} & set(sys.modules))"
    )
    assert run([sys.executable, "-c", code]).stdout.strip() == ""


def test_a_command_checks_a_folder(folder):
    root = folder({"agents/editor.py": EDITOR, "tools/count_words.py": COUNT_WORDS})
    command = [sys.executable, "-m", "workers.agents", str(root)]
    done = run(command)
    assert done.returncode == 0 and "agent editor (gpt-5.1): count_words" in done.stdout
    (root / "tools" / "count_words.py").unlink()
    done = run(command)
    assert done.returncode == 1 and "editor.py:9: agent editor: needs unknown tools ['count_words']" in done.stderr


def run(command):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


# ---------------------------------------------------------------- handoffs and arguments, through the loop


@pytest.mark.usefixtures("provider")
def test_a_handoff_has_a_name_a_description_and_a_history_of_its_own():
    import json

    way = Handoff("b", tool_name="ask_an_expert", description="For hard questions.", history="fresh")
    agents = Catalog([agent("a", handoffs=(way,), default=True), agent("b", history="full")], {})
    _, result = turn("[[echo_request]]", "a", agents)
    assert ("ask_an_expert", "For hard questions.") in [
        (tool["name"], tool["description"]) for tool in json.loads(result.response_text)["tools"]
    ]
    history = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]
    _, result = turn("[[tool=ask_an_expert]] [[echo_history]]", "a", agents, history)
    assert (result.answering_agent, result.handoff_occurred) == ("b", True)
    assert "two" not in result.response_text


def test_the_examples_of_the_documentation_work(folder, configure):
    configure(openai_api_key="sk-test")
    page = (ROOT / "docs" / "agents.md").read_text()
    examples = re.findall(r"^```python\n# /srv/catalogue/(\S+)\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    folder(dict(examples))
    statistician = catalog().get("statistician")
    assert [tool.name for tool in catalog().tools_of(statistician)] == ["big_interpreter", "image_generation"]
    assert statistician.targets == (Handoff("code_assistant", history="last_turn"),)
