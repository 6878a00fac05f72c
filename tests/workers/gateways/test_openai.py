"""The gateway to the provider: its errors are ours, and no call takes longer than it may."""

import json
import socket
import threading
import time

import pytest

from models.platform.database import transaction
from tests.support.sockets import answering
from workers.gateways import openai
from workers.gateways.openai import call

STORE = {"id": "vs_1", "object": "vector_store", "name": "a", "created_at": 1, "status": "completed", "usage_bytes": 0}
STORE["file_counts"] = dict.fromkeys(("in_progress", "completed", "failed", "cancelled", "total"), 0)


def retrieve(**options):
    return call("vector_stores.retrieve", lambda asked: asked.vector_stores.retrieve("vs_1"), **options)


def reply(status, body, *headers):
    data = json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} X", "Content-Type: application/json", f"Content-Length: {len(data)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + data


@pytest.fixture
def provider(configure):
    """provider(bytes or a function of the connection) -> the provider answers so from now on."""
    with answering() as server:
        configure(openai_base_url=f"http://127.0.0.1:{server.port}/v1", openai_api_key="sk-test-secret-key")
        yield server.answer_with


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        (401, {"message": "Incorrect API key sk-other"}, (502, "provider_authentication")),
        (403, {"message": "org-123 may not"}, (502, "provider_authentication")),
        (404, {"message": "No such store"}, (502, "provider_resource_missing")),
        (429, {"message": "slow down, org-123"}, (429, "provider_rate_limited")),
        (500, {"message": "oops"}, (503, "provider_unavailable")),
        (302, {}, (503, "provider_unavailable")),
        (400, {"message": "bad days", "param": "expires_after"}, (422, "provider_rejected")),
    ],
)
def test_errors_are_ours(provider, status, error, expected):
    provider(reply(status, {"error": error}, "Retry-After: 7"))
    with pytest.raises(openai.ProviderError) as raised:
        retrieve(retries=0)
    assert (raised.value.status, raised.value.code) == expected
    assert "org-123" not in raised.value.message and "sk-" not in raised.value.message
    if status == 429:
        assert raised.value.headers["Retry-After"] == "7"
    if status == 400:
        assert raised.value.details["param"] == "expires_after" and raised.value.message == "bad days"


def test_an_answer_is_the_sdks_object(provider):
    provider(reply(200, STORE))
    assert retrieve().name == "a"
    assert retrieve().status == "completed", "the connection is used again"


def trickle(connection):
    for byte in reply(200, STORE):
        connection.sendall(bytes([byte]))
        time.sleep(0.05)


def trickle_body(connection):
    head, _, body = reply(200, STORE).partition(b"\r\n\r\n")
    connection.sendall(head + b"\r\n\r\n")
    for byte in body:
        connection.sendall(bytes([byte]))
        time.sleep(0.05)


def say_nothing(connection):
    time.sleep(5)


@pytest.mark.parametrize("slowly", [trickle, trickle_body, say_nothing])
def test_a_slow_provider_is_not_waited_for(provider, slowly):
    provider(slowly)
    began = time.monotonic()
    with pytest.raises(openai.ProviderUnavailable):
        retrieve(seconds=0.3, retries=0)
    assert time.monotonic() - began < 4


def test_nobody_listens(configure):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        configure(openai_base_url=f"http://127.0.0.1:{free.getsockname()[1]}/v1")
        with pytest.raises(openai.ProviderUnavailable):
            retrieve(retries=0)


def test_without_a_key_it_is_not_called(configure):
    configure(openai_base_url=None, openai_api_key=None)
    with pytest.raises(openai.ProviderNotConfigured) as raised:
        retrieve()
    assert (raised.value.status, raised.value.code) == (503, "provider_not_configured")


def test_not_in_a_transaction(clean, provider):
    with transaction(), pytest.raises(RuntimeError, match="in a transaction"):
        retrieve()


def test_no_timer_is_left_behind(provider):
    provider(reply(200, STORE))
    before = threading.active_count()
    for _ in range(5):
        retrieve()
    time.sleep(0.1)
    assert threading.active_count() <= before + 1
