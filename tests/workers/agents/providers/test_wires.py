"""Which wire a provider speaks is found out by one request that costs nothing, and remembered."""

import threading
from contextlib import nullcontext

import httpx2
import pytest

from tests.support.models import turn
from workers.agents.providers import client, wires
from workers.agents.providers.errors import ProviderError
from workers.agents.providers.models_file import Provider


@pytest.fixture(autouse=True)
def forget():
    wires._findings.clear()


@pytest.fixture
def server(monkeypatch):
    """server(status, body) -> a provider whose server answers that to everything. `server.asked` are its requests."""
    asked = []

    def make(status, body, **more):
        def answer(request):
            asked.append(request)
            if isinstance(status, Exception):
                raise status
            return httpx2.Response(status, json=body) if body is not None else httpx2.Response(status)

        provider = Provider(name="local", base_url="http://model.test/v1", **more)
        http = httpx2.Client(transport=httpx2.MockTransport(answer))
        fake = client.openai.OpenAI(api_key="k", base_url=provider.base_url, max_retries=0, http_client=http)
        monkeypatch.setattr(wires.client, "client", lambda provider: fake)
        return provider

    make.asked = asked
    return make


@pytest.mark.parametrize(
    ("status", "body", "wire"),
    [
        (400, {"error": {"message": "Missing required parameter: 'model'.", "code": "x"}}, "responses"),
        (422, {"detail": [{"loc": ["body", "model"], "msg": "Field required"}]}, "responses"),
        (404, {"error": {"message": "model '' not found", "code": None}}, "responses"),
        (404, {"error": {"message": "no", "code": "model_not_found"}}, "responses"),
        (404, {"detail": "Not Found"}, "chat"),
        (404, {"error": {"message": "Invalid URL (POST /v1/responses)", "code": None}}, "chat"),
        (404, None, "chat"),
        (405, None, "chat"),
        (501, None, "chat"),
        (200, {"error": "Unexpected endpoint or method. (POST /v1/responses)"}, "chat"),
        (200, ["odd"], "chat"),
        (200, None, "chat"),
        (200, {"object": "response"}, "responses"),
    ],
)
def test_the_answer_to_a_request_for_nothing_tells_the_wire(server, status, body, wire):
    provider = server(status, body)
    assert wires.wire_of(provider, nullcontext) == wire
    assert wires.wire_of(provider, nullcontext) == wire
    (request,) = server.asked
    assert (request.url.path, request.read()) == ("/v1/responses", b"{}")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "provider_authentication"),
        (429, "provider_rate_limited"),
        (httpx2.ConnectError("no"), "provider_unavailable"),
        (httpx2.ReadTimeout("no"), "provider_timeout"),
    ],
)
def test_a_server_that_does_not_say_is_asked_again(server, status, code):
    provider = server(status, {})
    for _ in range(2):
        with pytest.raises(ProviderError) as failed:
            wires.wire_of(provider, nullcontext)
        assert failed.value.code == code and failed.value.is_curable
    assert len(server.asked) == 2


def test_the_finding_expires_and_is_kept_while_the_server_is_away(server, configure, monkeypatch):
    configure(openai_wire_ttl_seconds=-1)
    monkeypatch.setattr(wires, "UNSURE_SECONDS", -1)
    assert wires.wire_of(server(404, None), nullcontext) == "chat"
    assert wires.wire_of(server(503, None), nullcontext) == "chat"
    assert wires.wire_of(server(httpx2.ConnectError("no"), None), nullcontext) == "chat"
    assert wires.wire_of(server(400, {}), nullcontext) == "responses"
    assert len(server.asked) == 4


def test_a_gateway_that_fails_at_a_request_for_nothing_is_taken_for_the_common_wire_and_asked_again(
    server, monkeypatch
):
    provider = server(500, None)
    assert [wires.wire_of(provider, nullcontext) for _ in range(2)] == ["responses"] * 2 and len(server.asked) == 1
    later = wires.time.monotonic() + 61
    monkeypatch.setattr(wires.time, "monotonic", lambda: later)
    assert wires.wire_of(server(404, None), nullcontext) == "chat"


@pytest.mark.parametrize(
    "provider", [Provider(name="openai"), Provider(name="local", base_url="http://x", wire="responses")]
)
def test_openai_itself_and_a_wire_that_is_set_are_not_asked(provider):
    assert wires.wire_of(provider, nullcontext) == "responses"
    assert not wires._findings


def test_of_many_requests_at_once_one_asks(chat_only_url, stats):
    provider = Provider(name="local", base_url=chat_only_url)
    found = []
    threads = [threading.Thread(target=lambda: found.append(wires.wire_of(provider, nullcontext))) for _ in range(20)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert found == ["chat"] * 20 and len(wires._findings) == 1


def test_an_agent_talks_to_a_server_that_has_only_chat_completions(provider, configure, chat_only_url, stats):
    configure(openai_base_url=chat_only_url)
    before = stats(chat_only_url)
    _, result = turn("What time is it?")
    assert "UTC" in result.response_text
    assert stats(chat_only_url)["requests"] == before["requests"] + 2  # what asked for the wire reached no endpoint


def test_asking_a_server_that_has_responses_generates_nothing(provider, stats):
    before = stats(provider)
    assert wires.wire_of(Provider(name="local", base_url=provider), nullcontext) == "responses"
    after = stats(provider)
    assert (after["open_streams"], after["closed_early"]) == (before["open_streams"], before["closed_early"])
    assert after["responses"] == before["responses"] + 1
