"""Fall-back chains: the next model is asked before the first token only, and only for what it may cure."""

import contextlib
import logging

import pytest

from tests.support.models import turn
from workers import metrics
from workers.agents.catalog import Agent, Catalog
from workers.agents.providers import routing
from workers.agents.providers.errors import CURABLE, MESSAGES, ProviderError
from workers.agents.providers.models_file import Provider, Target

CHAIN = """
[providers.first]
base_url = "{url}"
wire = "responses"
attempts = {attempts}

[providers.second]
base_url = "{url}"
wire = "chat"
attempts = {attempts}

[aliases]
safe = ["first:one", "second:two"]
alone = "first:one"
"""
FALLS_BACK = {
    "status=401": "provider_authentication",
    "status=404": "model_not_found",
    "status=429 retry_after=60": "provider_rate_limited",
    "status=429 code=insufficient_quota": "provider_rate_limited",
    "status=500": "provider_unavailable",
    "status=503": "provider_unavailable",
    "cut=0": "provider_unavailable",
    "slow=2s": "provider_timeout",
    "error_event": "provider_failed",
    "failed": "provider_failed",
}
STAYS = {
    "status=400": "provider_bad_request",
    "context_overflow": "context_length_exceeded",
    "incomplete": "provider_incomplete",
    "content_filter": "provider_incomplete",
    "cut=2": "provider_unavailable",  # the client has read a part of the answer
    "error_event deltas=2": "provider_failed",
}


@pytest.fixture
def ask(provider, models_file, configure, monkeypatch):
    """ask(message, model) -> (events, result)."""
    configure(openai_timeout_seconds=1)
    models_file(CHAIN.format(url=provider, attempts=1))

    def run(message, model="safe", **more):
        return turn(message, "a", Catalog([Agent("a", "A", "d", "p", model=model)], {}), **more)

    return run


def fallbacks(events):
    return [event["payload"] for event in events if event["event"] == "model_fallback"]


@pytest.mark.parametrize("directive", FALLS_BACK)
def test_the_next_model_answers_where_it_may_cure_the_failure(ask, directive, caplog):
    code = FALLS_BACK[directive]
    counter = metrics.MODEL_FALLBACKS.labels("first:one", "second:two", code)
    before = counter._value.get()
    with caplog.at_level(logging.WARNING):
        events, result = ask(f"[[{directive} times=1 key=falls-{directive.replace(' ', '-')}]] hello")
    assert fallbacks(events) == [{"from": "first:one", "to": "second:two", "code": code}]
    assert 'You said: "hello"' in result.response_text and result.model == "second:two"
    assert {item["model"] for item in result.items if "model" in item} == {"second:two"}
    assert "model.fallback" in caplog.messages and counter._value.get() == before + 1


@pytest.mark.parametrize("directive", STAYS)
def test_no_other_model_is_asked_where_it_would_not_help_or_contradict(ask, directive, stats, provider):
    before = stats(provider)["chat_completions"]
    with pytest.raises(ProviderError) as failed:
        ask(f"[[{directive} times=1 key=stays-{directive.replace(' ', '-')}]] hello there my friend")
    assert failed.value.code == STAYS[directive] and not fallbacks(failed.value.events)
    assert stats(provider)["chat_completions"] == before


def test_the_error_of_the_last_model_is_the_error_of_the_chain(ask):
    with pytest.raises(ProviderError) as failed:
        ask("[[status=503]] hello")
    assert failed.value.code == "provider_unavailable" and len(fallbacks(failed.value.events)) == 1


def test_a_model_alone_has_nothing_to_fall_back_to(ask):
    with pytest.raises(ProviderError) as failed:
        ask("[[status=503]] hello", "alone")
    assert not fallbacks(failed.value.events)


def test_a_model_is_asked_again_before_the_next_one_is(ask, models_file, provider, monkeypatch):
    monkeypatch.setattr("workers.agents.providers.client.time.sleep", lambda seconds: None)
    models_file(CHAIN.format(url=provider, attempts=2))
    events, result = ask("[[status=503 times=1 key=again]] [[deltas=2]]")
    assert not fallbacks(events) and result.model == "first:one"


def test_a_model_that_failed_is_asked_last_for_a_while(ask, stats, provider, monkeypatch):
    ask("[[status=500 times=1 key=rests]] [[deltas=2]]")
    before = stats(provider)["responses"]
    events, result = ask("[[deltas=2]]")
    assert fallbacks(events) == [{"from": "first:one", "to": "second:two", "code": "provider_unavailable"}]
    assert (result.model, stats(provider)["responses"]) == ("second:two", before)
    monkeypatch.setattr(routing, "_resting", {"first:one": (0.0, "provider_unavailable")})
    events, result = ask("[[deltas=2]]")
    assert not fallbacks(events) and result.model == "first:one"


def test_a_resting_model_is_still_the_last_resort(ask):
    ask("[[status=500 times=1 key=resort-1]] [[deltas=2]]")
    events, result = ask("[[status=500 times=1 key=resort-2]] [[deltas=2]]")
    assert [entry["to"] for entry in fallbacks(events)] == ["second:two", "first:one"]
    assert result.model == "first:one"


def test_a_response_id_is_only_sent_to_the_provider_that_knows_it(ask):
    import json

    options = {"previous_response_id": "resp_1"}
    _, result = ask("[[echo_request]]", "alone", run_options=options)
    assert json.loads(result.response_text)["previous_response_id"] == "resp_1"
    _, result = ask("[[status=500 times=1 key=response-id]] [[echo_request]]", run_options=options)
    assert "previous_response_id" not in json.loads(result.response_text)


def test_a_chain_does_not_fall_back_to_a_server_without_the_tools_of_the_agent(ask, monkeypatch):
    from workers.agents.catalog import Tool

    hosted = Tool("code_interpreter", "code", "d", hosted={"type": "code_interpreter", "container": {"type": "auto"}})
    agents = Catalog([Agent("a", "A", "d", "p", model="safe", tools=(hosted.name,))], {hosted.name: hosted})
    with pytest.raises(ProviderError) as failed:
        turn("[[status=500]] hello", "a", agents)
    assert failed.value.code == "tools_unavailable"


def test_every_curable_code_has_a_message():
    assert MESSAGES.keys() >= CURABLE


def test_a_model_that_has_left_the_file_is_not_found(ask):
    with pytest.raises(ProviderError) as failed:
        ask("hello", "left:long-ago")
    assert failed.value.code == "model_not_found"


@pytest.mark.parametrize(("trusted", "asked"), [(None, ["openai"]), (False, ["openai"]), (True, ["openai", "second"])])
def test_the_credentials_of_mcp_servers_go_only_to_providers_that_may_have_them(monkeypatch, trusted, asked):
    chain = [
        Target(Provider(name="openai"), "one"),
        Target(Provider(name="second", mcp_credentials=trusted), "two"),
    ]
    sent = []

    def fail(target, request, wait):
        sent.append(target.provider.name)
        raise ProviderError("provider_unavailable")
        yield

    monkeypatch.setattr(routing, "_chain", lambda name: chain)
    monkeypatch.setattr(routing, "_resting", {})
    monkeypatch.setattr(routing, "wire_of", lambda provider, wait: "responses")
    monkeypatch.setitem(routing.WIRES, "responses", fail)
    tools = [{"type": "mcp", "server_label": "tickets", "authorization": "a secret"}]
    with pytest.raises(ProviderError):
        list(routing.Answer({"model": "safe", "input": [], "tools": tools}, contextlib.nullcontext).events())
    assert sent == asked
