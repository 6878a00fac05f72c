"""The two Redis clients of a process: one that waits until a server is back, and one that fails at once."""

import threading
from functools import cache
from typing import Any

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from models.platform.settings import settings

WAIT_SECONDS = 5  # for a free connection


class Pool(redis.ConnectionPool):
    """redis-py's pool without telemetry and without its check of idle sockets, which cost half the time of a command.

    A connection that broke while it was idle makes its next command fail, which is then retried. When all connections are
    in use, a caller waits for one: a crowd must not be able to make limits fail, and let it through.
    """

    def reset(self) -> None:
        super().reset()
        self.slots = threading.Semaphore(self.max_connections)

    def get_connection(self, *_: Any, **__: Any) -> Any:
        self._checkpid()
        if not self.slots.acquire(timeout=WAIT_SECONDS):
            raise redis.ConnectionError(f"No connection to Redis was free within {WAIT_SECONDS} s.")
        try:
            connection = self._available_connections.pop()
        except IndexError:
            connection = self._make_connection()
        self._in_use_connections.add(connection)
        try:
            connection.connect()
        except BaseException:
            self.release(connection)
            raise
        return connection

    def _make_connection(self) -> Any:
        try:
            return self.make_connection()
        except BaseException:
            self.slots.release()
            raise

    def release(self, connection: Any) -> None:
        if connection not in self._in_use_connections:  # it is from before a fork
            return
        self._in_use_connections.remove(connection)
        self._available_connections.append(connection)
        self.slots.release()


def connect(url: str, **options: Any) -> redis.Redis:
    """A client with its own pool."""
    return redis.Redis(connection_pool=Pool.from_url(url, **options))


def redis_client() -> redis.Redis:
    """For work that can wait: a command is retried for about 20 seconds, as long as a server takes to restart."""
    return _retrying_client(settings.redis_url.get_secret_value())


@cache
def _retrying_client(url: str) -> redis.Redis:
    return connect(
        url,
        socket_timeout=10,
        socket_connect_timeout=2,
        health_check_interval=30,
        retry=Retry(ExponentialBackoff(cap=1.0, base=0.02), 20),
        retry_on_error=[redis.BusyLoadingError, redis.ConnectionError, redis.TimeoutError],
    )


def fast_redis_client() -> redis.Redis:
    """For requests: a command fails within seconds if Redis is down."""
    return _fast_client(settings.redis_url.get_secret_value())


@cache
def _fast_client(url: str) -> redis.Redis:
    return connect(
        url,
        socket_timeout=2,
        socket_connect_timeout=1,
        retry=Retry(ExponentialBackoff(cap=0.1, base=0.01), 1),
    )
