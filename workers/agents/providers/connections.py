"""Connections to the model provider, each in a pool of its own.

httpx's pool walks over all its connections whenever a request begins or ends, so the cost of a hundred concurrent answers
grows with the square of their number.
"""

import ssl
import time
from collections import deque
from collections.abc import Iterator
from typing import cast

import httpx2

MAX_IDLE = 50  # idle connections that are kept
IDLE_SECONDS = 60  # after which one is closed


class Connections(httpx2.BaseTransport):
    """The connection that was used last is used next; idle ones are closed after IDLE_SECONDS."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context
        self.idle: deque[tuple[float, httpx2.BaseTransport]] = deque()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        transport = self.idle.pop()[1] if self.idle else self._open()
        try:
            response = transport.handle_request(request)
        except BaseException:
            transport.close()
            raise
        response.stream = ResponseStream(cast(httpx2.SyncByteStream, response.stream), self, transport)
        return response

    def _open(self) -> httpx2.BaseTransport:
        one = httpx2.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=IDLE_SECONDS)
        return httpx2.HTTPTransport(verify=self.context, limits=one)

    def put_back(self, transport: httpx2.BaseTransport) -> None:
        now = time.monotonic()
        self.idle.append((now, transport))
        while len(self.idle) > MAX_IDLE or self.idle[0][0] < now - IDLE_SECONDS:
            self.idle.popleft()[1].close()

    def close(self) -> None:
        while self.idle:
            self.idle.pop()[1].close()


class ResponseStream(httpx2.SyncByteStream):
    """A response's body. Closing it puts the connection back; if it was not read to its end, httpx opens it anew."""

    def __init__(
        self, stream: httpx2.SyncByteStream, connections: Connections, transport: httpx2.BaseTransport
    ) -> None:
        self.stream, self.connections, self.transport = stream, connections, transport
        self.is_closed = False

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.stream)

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            self.stream.close()
            self.connections.put_back(self.transport)
