"""The models file: what it may say, and that all its faults are told at once."""

import re
from pathlib import Path

import pytest

from edge.schemas.chat import RunOptionsRequest
from models.platform.redaction import without_secrets
from tests.support.models import turn
from workers.agents.catalog import catalog
from workers.agents.providers.models_file import UnknownModel, models

FILE = """
[providers.local]
base_url = "http://127.0.0.1:8080/v1"
wire = "chat"

[providers.hosted]
base_url = "https://models.example.com/v1"
key_env = "HOSTED_KEY"
headers = { X-Team = "agents", X-Token = "Token $HOSTED_TOKEN" }

[aliases]
fast = "local:qwen3:8b"
smart = ["gpt-5.1", "hosted:large", "local:qwen3:32b"]
"""


@pytest.fixture
def keys(monkeypatch):
    monkeypatch.setenv("HOSTED_KEY", "secret-1")
    monkeypatch.setenv("HOSTED_TOKEN", "secret-2")


def names(chain):
    return [(target.provider.name, target.model) for target in chain]


def test_a_name_is_a_model_of_a_provider_an_alias_or_a_chain(models_file, keys):
    models_file(FILE)
    assert names(models().chain("local:qwen3:8b")) == names(models().chain("fast")) == [("local", "qwen3:8b")]
    assert names(models().chain("gpt-5.1")) == [("openai", "gpt-5.1")]
    chain = models().chain("smart")
    assert names(chain) == [("openai", "gpt-5.1"), ("hosted", "large"), ("local", "qwen3:32b")]
    assert [target.name for target in chain] == ["gpt-5.1", "hosted:large", "local:qwen3:32b"]
    for unknown in ("locl:qwen3", "", ":x"):
        with pytest.raises(UnknownModel):
            models().chain(unknown)


def test_keys_and_headers_come_from_the_environment_and_are_never_shown(models_file, keys):
    models_file(FILE)
    hosted = models().providers["hosted"]
    assert hosted.key() == "secret-1"
    assert hosted.sent_headers() == {"X-Team": "agents", "X-Token": "Token secret-2"}
    assert "secret" not in repr(hosted)


def test_without_a_file_the_settings_describe_the_only_provider(configure):
    configure(openai_base_url="http://127.0.0.1:1/v1", openai_timeout_seconds=7, openai_wire="chat", models_path=None)
    (provider,) = models().providers.values()
    assert (provider.name, provider.base_url, provider.wire) == ("openai", "http://127.0.0.1:1/v1", "chat")
    assert (provider.read_seconds, provider.token_limit) == (7, "max_tokens")
    assert names(models().chain("ft:gpt-5.1:acme::1")) == [("openai", "ft:gpt-5.1:acme::1")]
    assert names(models().chain("openai:gpt-5.1")) == [("openai", "gpt-5.1")]
    configure(openai_base_url=None)
    assert models().providers["openai"].token_limit == "max_completion_tokens"
    assert models() is models()


def test_a_file_may_change_the_default_provider(models_file, configure):
    configure(openai_base_url="http://127.0.0.1:1/v1")
    models_file('[providers.openai]\nconnect_seconds = 2\nwire = "responses"')
    provider = models().providers["openai"]
    assert (provider.base_url, provider.connect_seconds, provider.wire) == ("http://127.0.0.1:1/v1", 2, "responses")


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("[providers", ["Expected"]),
        ("providers = 5", ["int"]),
        (
            '[providers.a]\nwire = "telnet"\nbase_url = "ftp://x"\ncolour = "red"\n[aliases]\nb = []\n[oddities]\n',
            ["providers.a.wire", "providers.a.base_url", "providers.a.colour", "aliases.b", "oddities"],
        ),
        (
            '[providers.a]\nkey_env = "NOT_SET_KEY"\nheaders = { X = "$NOT_SET", Y = "$" }\n[aliases]\nb = ["a:1", "a:1"]\nc = ["nobody:1", "a:2"]\n',
            ["NOT_SET_KEY", "NOT_SET", "headers.Y", "aliases.b", "aliases.c", "nobody:1", "agent triage", "ALLOWED"],
        ),
    ],
)
def test_a_file_that_cannot_work_is_refused_with_all_its_faults(models_file, configure, text, faults):
    path = models_file(text)
    configure(agent_model_triage="nobody:2", agent_models_allowed="nobody:3")
    with pytest.raises(SystemExit) as refused:
        catalog()
    assert str(path) in str(refused.value)
    assert not [fault for fault in faults if fault not in str(refused.value)], refused.value


def test_the_example_of_the_documentation_works(models_file, monkeypatch):
    monkeypatch.setenv("OPENROUTER_API_KEY", "k")
    text = (Path(__file__).parents[4] / "docs" / "models.md").read_text()
    models_file(re.search(r"```toml\n(.*?)```", text, re.DOTALL)[1])
    assert not list(models().faults())
    assert [target.provider.name for target in models().chain("safe")] == ["openai", "openrouter", "vllm"]


def test_a_file_that_does_not_exist_is_refused(configure):
    configure(models_path="/nowhere/models.toml")
    with pytest.raises(SystemExit, match="nowhere"):
        catalog()


def test_an_agent_whose_models_lack_a_tool_that_it_needs_is_refused(models_file, monkeypatch, configure, tmp_path):
    models_file(FILE.replace('key_env = "HOSTED_KEY"', "").replace("$HOSTED_TOKEN", ""))
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "painter.py").write_text(
        "from workers.agents.declarations import Agent\n"
        'A = Agent("painter", "P", "d", "p", model="fast", tools=("web_search", "painting"))\n'
    )
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "painting.py").write_text(
        "from workers.agents.declarations import Tool\n"
        'T = Tool("painting", "image", "Paints.", hosted={"type": "image_generation"})\n'
    )
    configure(agents_path=str(tmp_path))
    monkeypatch.setattr(type(models()), "offer_hosted_tools", True)
    with pytest.raises(SystemExit, match="agent painter: the chat wire has no tool painting") as refused:
        catalog()
    assert "web_search" not in str(refused.value)


def test_hosted_tools_need_a_provider_with_a_key_that_may_have_them(models_file, configure):
    configure(openai_api_key=None)
    models_file(FILE.replace('key_env = "HOSTED_KEY"', "").replace("$HOSTED_TOKEN", ""))
    assert "web_search" not in catalog().tools
    configure(openai_api_key="sk-test", openai_wire="chat")
    assert "web_search" not in catalog().tools
    configure(openai_wire="auto")
    assert "web_search" in catalog().tools


def test_clients_may_ask_for_the_allowed_names_only(models_file, configure, keys):
    models_file(FILE)
    configure(agent_model_code="smart", agent_models_allowed="fast, hosted:large")
    for name in ("fast", "smart", "hosted:large", "gpt-5.1"):
        RunOptionsRequest(run_config={"model": name})
    for name in ("local:qwen3:8b", "local:anything", "hosted:other"):
        with pytest.raises(ValueError, match="not one that may be asked for"):
            RunOptionsRequest(run_config={"model": name})


def test_each_agent_may_have_a_provider_of_its_own(models_file, configure, provider, chat_only_url, stats):
    models_file(f'[providers.local]\nbase_url = "{chat_only_url}"\n')
    configure(agent_model_code="local:qwen3")
    before = stats(chat_only_url)["chat_completions"]
    _, result = turn("[[handoff=code_assistant]] fix it")
    assert (result.answering_agent, result.model) == ("code_assistant", "local:qwen3")
    assert stats(chat_only_url)["chat_completions"] == before + 1
    assert {item.get("model") for item in result.items} == {None, "gpt-5.1", "local:qwen3"}


def test_in_production_other_hosts_are_reached_with_tls_only(models_file, configure):
    models_file(
        '[providers.gpu]\nbase_url = "http://gpu-1:8000/v1"\n[providers.here]\nbase_url = "http://localhost:1/v1"'
    )
    assert not list(models().faults())
    configure(environment="production", openai_base_url=None)
    (fault,) = models().faults()
    assert fault.startswith("providers.gpu.base_url") and "TLS" in fault
    configure(private_hosts="gpu-1")
    assert not list(models().faults())


def test_keys_of_providers_are_blanked_out_of_logs_and_stored_errors(models_file, keys):
    models_file(FILE)
    models()
    assert without_secrets("refused: secret-1, Token secret-2") == "refused: [redacted], Token [redacted]"
