"""Connections to the provider are reused, and never shared by two requests."""

import httpx2
import pytest

from workers.agents.providers import connections
from workers.agents.providers.connections import Connections


class Fake(httpx2.BaseTransport):
    def __init__(self):
        self.closed = False

    def handle_request(self, request):
        if request.url.path == "/broken":
            raise httpx2.ConnectError("no")
        return httpx2.Response(200, stream=httpx2.ByteStream(b"ok"), request=request)

    def close(self):
        self.closed = True


@pytest.fixture
def pool(monkeypatch):
    connections = Connections(None)
    connections.opened = []

    def open_fake():
        connections.opened.append(Fake())
        return connections.opened[-1]

    monkeypatch.setattr(connections, "_open", open_fake)
    return connections


def ask(pool, path="/"):
    return pool.handle_request(httpx2.Request("GET", f"http://here{path}"))


def test_a_connection_is_used_for_one_request_after_the_other(pool):
    for _ in range(3):
        response = ask(pool)
        assert response.read() == b"ok"
        response.close()
        response.close()
    assert len(pool.opened) == 1 and len(pool.idle) == 1


def test_concurrent_requests_have_connections_of_their_own_and_only_some_are_kept(pool, monkeypatch):
    monkeypatch.setattr(connections, "MAX_IDLE", 2)
    answers = [ask(pool) for _ in range(4)]
    for response in answers:
        response.close()
    assert [fake.closed for fake in pool.opened] == [True, True, False, False]


def test_a_connection_that_failed_or_was_idle_for_long_is_closed(pool, monkeypatch):
    with pytest.raises(httpx2.ConnectError):
        ask(pool, "/broken")
    assert pool.opened[0].closed and not pool.idle
    old, new = ask(pool), ask(pool)
    old.close()
    later = connections.time.monotonic() + 61
    monkeypatch.setattr(connections.time, "monotonic", lambda: later)
    new.close()
    assert [fake.closed for fake in pool.opened[1:]] == [True, False]
