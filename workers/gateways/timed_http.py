"""HTTP requests with a deadline for all of it: a server that sends a byte a second does not keep us longer than one that is silent.

The timeouts of HTTP clients begin anew with each read. Here every wait of the connection gets what is left of the deadline.
Connections are kept and used again. Redirects are not followed, and no proxy is used.
"""

import ssl
import time
from collections.abc import Iterable
from contextvars import ContextVar
from functools import cache
from typing import Any, NamedTuple

import httpcore2

CONNECT_SECONDS = 5.0
IDLE_SECONDS, MOST_IDLE = 30.0, 20  # how long idle connections are kept, and how many
MOST_CONNECTIONS = 400
AT_ONCE = 65_536  # bytes that are given to a connection at once
# A kept connection may have been closed while we wrote to it.
_BROKEN = (httpcore2.ReadError, httpcore2.WriteError, httpcore2.RemoteProtocolError)
_deadline: ContextVar[float] = ContextVar("deadline")  # by time.monotonic, of the request that this thread sends


class Answer(NamedTuple):
    """`headers`: their names in small letters."""

    status: int
    headers: dict[str, str]
    body: bytes


class TimedOut(Exception):
    pass


class Unreachable(Exception):
    """No connection, a broken one, an answer that is not HTTP, or one that is larger than it may be."""


def post(
    url: str, headers: dict[str, str], body: bytes, *, seconds: float, largest: int, may_repeat: bool = True
) -> Answer:
    """Post a request. `may_repeat`: it may be sent twice without harm. `largest`: bytes of the answer. TimedOut, Unreachable."""
    return _asked("POST", url, headers, body, seconds, largest, may_repeat=may_repeat)


def get(url: str, headers: dict[str, str], *, seconds: float, largest: int) -> Answer:
    """The same without a body."""
    return _asked("GET", url, headers, b"", seconds, largest, may_repeat=True)


def _asked(
    method: str, url: str, headers: dict[str, str], body: bytes, seconds: float, largest: int, *, may_repeat: bool
) -> Answer:
    token = _deadline.set(time.monotonic() + seconds)
    try:
        try:
            return _send(method, url, headers, body, largest)
        except _BROKEN:
            if not may_repeat:
                raise
            return _send(method, url, headers, body, largest)
    except httpcore2.TimeoutException:
        raise TimedOut from None
    except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.UnsupportedProtocol) as error:
        raise Unreachable(type(error).__name__) from error
    finally:
        _deadline.reset(token)


def _send(method: str, url: str, headers: dict[str, str], body: bytes, largest: int) -> Answer:
    options = {"timeout": {"pool": _left()}}
    with _pool().stream(method, url, headers=list(headers.items()), content=body or None, extensions=options) as got:
        size, parts = 0, []
        for part in got.iter_stream():
            size += len(part)
            if size > largest:
                raise Unreachable("the answer is too large")
            parts.append(part)
        names = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in got.headers}
        return Answer(got.status, names, b"".join(parts))


@cache
def _pool() -> httpcore2.ConnectionPool:
    return httpcore2.ConnectionPool(
        ssl_context=ssl.create_default_context(),
        max_connections=MOST_CONNECTIONS,
        max_keepalive_connections=MOST_IDLE,
        keepalive_expiry=IDLE_SECONDS,
        network_backend=_Backend(),
    )


def _left() -> float:
    left = _deadline.get() - time.monotonic()
    if left <= 0:
        raise httpcore2.ReadTimeout("the deadline has passed")
    return left


class _Backend(httpcore2.NetworkBackend):
    def __init__(self) -> None:
        self.sockets = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        limit = min(CONNECT_SECONDS, _left())
        return _Stream(self.sockets.connect_tcp(host, port, limit, local_address, socket_options))

    def sleep(self, seconds: float) -> None:
        self.sockets.sleep(min(seconds, _left()))


class _Stream(httpcore2.NetworkStream):
    def __init__(self, stream: httpcore2.NetworkStream) -> None:
        self.stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.stream.read(max_bytes, _left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), AT_ONCE):
            self.stream.write(buffer[start : start + AT_ONCE], _left())

    def close(self) -> None:
        self.stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:
        return _Stream(self.stream.start_tls(ssl_context, server_hostname, _left()))

    def get_extra_info(self, info: str) -> Any:
        return self.stream.get_extra_info(info)
