"""Requests to a provider, and the decoding of its streams."""

from contextlib import nullcontext

import httpx2
import pytest

from tests.support.models import turn
from workers.agents.providers import client
from workers.agents.providers.errors import ProviderError
from workers.agents.providers.models_file import Provider

PROVIDER = Provider(name="local", base_url="http://127.0.0.1:9/v1", attempts=1)


@pytest.fixture
def answered(monkeypatch):
    """answered(bytes, content_type) -> the events of a stream with this body."""

    def run(chunks, content_type="text/event-stream", provider=PROVIDER):
        response = httpx2.Response(200, content=iter(chunks), headers={"content-type": content_type})
        monkeypatch.setattr(client, "_open", lambda provider, path, body, wait: response)
        events = list(client.stream(provider, "/x", {}, nullcontext))
        assert response.is_closed
        return events

    return run


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_events_are_decoded_wherever_the_chunks_are_cut(answered, size):
    wire = b'event: a\r\ndata: {"n":1,"t":"\xc3\xa9"}\r\n\r\n: ping\n\ndata:{"n":2}\n\ndata: [DONE]\n\n'
    chunks = [wire[n : n + size] for n in range(0, len(wire), size)]
    assert answered(chunks) == [{"n": 1, "t": "é"}, {"n": 2}, client.DONE]


def test_a_server_that_does_not_stream_is_one_event(answered):
    assert answered([b'{"a":', b"1}"], "application/json; charset=utf-8") == [{"a": 1}]


def test_data_that_is_no_json_is_a_failed_answer(answered):
    with pytest.raises(ProviderError) as failed:
        answered([b"data: <html>\n\n"])
    assert failed.value.code == "provider_failed"


def test_a_request_gets_the_fields_that_its_provider_wants_and_none_that_it_refuses(monkeypatch):
    sent = []
    response = httpx2.Response(200, content=b"")
    monkeypatch.setattr(client, "_open", lambda provider, path, body, wait: sent.append(body) or response)
    provider = Provider(name="local", omit=("store",), extra={"keep_alive": "5m"})
    list(client.stream(provider, "/x", {"model": "m", "store": False}, nullcontext))
    assert sent == [{"model": "m", "keep_alive": "5m"}]


def test_a_server_that_is_not_there_is_unavailable():
    with pytest.raises(ProviderError) as failed:
        list(client.stream(PROVIDER, "/x", {}, nullcontext))
    assert failed.value.code == "provider_unavailable" and failed.value.is_curable


def test_what_the_provider_says_is_logged_for_operators(provider, caplog):
    with caplog.at_level("WARNING"), pytest.raises(ProviderError):
        turn("[[status=400]] hello")
    (record,) = [record for record in caplog.records if record.message == "model.request_failed"]
    assert (record.provider, record.model, record.code) == ("openai", "gpt-5.1", "provider_bad_request")
    assert "The request is invalid." in record.reason


def test_only_the_default_provider_is_told_our_organization(monkeypatch):
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-1")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://elsewhere/v1")
    assert client.client(Provider(name="openai")).organization == "org-1"
    other = client.client(Provider(name="other"))
    headers = {name for name, value in other.default_headers.items() if isinstance(value, str)}
    assert not {"OpenAI-Organization", "OpenAI-Project"} & headers
    assert str(other.base_url) == "https://api.openai.com/v1/"
