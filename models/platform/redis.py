"""The two Redis clients of a process: one that waits until a server is back, and one that fails at once."""

from functools import cache
from typing import Any

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from models.platform.settings import settings


class Pool(redis.ConnectionPool):
    """redis-py's pool without telemetry and without its check of idle sockets, which cost half the time of a command.

    A connection that broke while it was idle makes its next command fail, which is then retried.
    """

    def get_connection(self, *_: Any, **__: Any) -> Any:
        self._checkpid()
        try:
            connection = self._available_connections.pop()
        except IndexError:
            connection = self.make_connection()
        self._in_use_connections.add(connection)
        try:
            connection.connect()
        except BaseException:
            self.release(connection)
            raise
        return connection

    def release(self, connection: Any) -> None:
        self._in_use_connections.discard(connection)
        if self.owns_connection(connection):  # it is not from before a fork
            self._available_connections.append(connection)


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
