"""Connections to the provider are used again, and never by two at once."""

import httpx2
import pytest

from workers.agents import connections
from workers.agents.connections import Connections


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
    found = Connections(None)
    found.made = []

    def open_one():
        found.made.append(Fake())
        return found.made[-1]

    monkeypatch.setattr(found, "_open", open_one)
    return found


def ask(pool, path="/"):
    return pool.handle_request(httpx2.Request("GET", f"http://here{path}"))


def test_a_connection_serves_one_answer_after_the_other(pool):
    for _ in range(3):
        response = ask(pool)
        assert response.read() == b"ok"
        response.close()
        response.close()
    assert len(pool.made) == 1 and len(pool.idle) == 1


def test_answers_at_the_same_time_have_connections_of_their_own_and_few_are_kept(pool, monkeypatch):
    monkeypatch.setattr(connections, "KEPT", 2)
    answers = [ask(pool) for _ in range(4)]
    for response in answers:
        response.close()
    assert [made.closed for made in pool.made] == [True, True, False, False]


def test_one_that_failed_or_lay_idle_for_long_is_closed(pool, monkeypatch):
    with pytest.raises(httpx2.ConnectError):
        ask(pool, "/broken")
    assert pool.made[0].closed and not pool.idle
    old, new = ask(pool), ask(pool)
    old.close()
    later = connections.time.monotonic() + 61
    monkeypatch.setattr(connections.time, "monotonic", lambda: later)
    new.close()
    assert [made.closed for made in pool.made[1:]] == [True, False]
