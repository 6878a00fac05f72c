"""The pool of connections to Redis."""

import os
import threading

import pytest
import redis

from models.platform import redis as clients


@pytest.fixture
def pool(clean):
    found = clients.Pool.from_url(os.environ["REDIS_URL"], max_connections=2)
    yield found
    found.disconnect()


def test_a_caller_waits_until_a_connection_is_free(pool):
    held = [pool.get_connection() for _ in range(2)]
    got = []
    waiting = threading.Thread(target=lambda: got.append(pool.get_connection()))
    waiting.start()
    assert got == []
    pool.release(held[0])
    waiting.join(5)
    assert got == [held[0]]


def test_a_caller_that_waits_too_long_is_told(pool, monkeypatch):
    monkeypatch.setattr(clients, "WAIT_SECONDS", 0.05)
    for _ in range(2):
        pool.get_connection()
    with pytest.raises(redis.ConnectionError, match="was free within"):
        pool.get_connection()


def test_a_connection_that_is_released_twice_frees_one_place(pool):
    held = pool.get_connection()
    pool.release(held)
    pool.release(held)
    assert pool.slots._value == 2 and pool._available_connections == [held]


def test_failed_connections_use_up_no_places(clean):
    pool = clients.Pool.from_url("redis://127.0.0.1:1", max_connections=2)
    for _ in range(5):
        with pytest.raises(redis.ConnectionError, match="refused"):
            pool.get_connection()
    assert pool.slots._value == 2
