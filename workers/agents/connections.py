"""Connections to the model provider. httpx's own pool looks at all its connections whenever a request begins or ends: a
hundred answers at once cost a hundred times a hundred looks. Here each connection has a pool to itself.
"""

import ssl
import time
from collections import deque
from collections.abc import Iterator

import httpx2

KEPT = 50  # idle connections
IDLE_SECONDS = 60  # after which one is closed


class Connections(httpx2.BaseTransport):
    """The connection used last is used next; those that nobody needed for a while are closed."""

    def __init__(self, context: ssl.SSLContext):
        self.context = context
        self.idle: deque[tuple[float, httpx2.HTTPTransport]] = deque()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        transport = self.idle.pop()[1] if self.idle else self._open()
        try:
            response = transport.handle_request(request)
        except BaseException:
            transport.close()
            raise
        response.stream = Returning(response.stream, self, transport)
        return response

    def _open(self) -> httpx2.HTTPTransport:
        only = httpx2.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=IDLE_SECONDS)
        return httpx2.HTTPTransport(verify=self.context, limits=only)

    def take_back(self, transport: httpx2.HTTPTransport) -> None:
        moment = time.monotonic()
        self.idle.append((moment, transport))
        while len(self.idle) > KEPT or self.idle[0][0] < moment - IDLE_SECONDS:
            self.idle.popleft()[1].close()

    def close(self) -> None:
        while self.idle:
            self.idle.pop()[1].close()


class Returning(httpx2.SyncByteStream):
    """An answer's body. With its end the connection is free: open if the body was read to its end, else to be opened anew."""

    def __init__(self, stream: httpx2.SyncByteStream, connections: Connections, transport: httpx2.HTTPTransport):
        self.stream, self.connections, self.transport = stream, connections, transport

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.stream)

    def close(self) -> None:
        transport, self.transport = self.transport, None
        if transport is not None:
            self.stream.close()
            self.connections.take_back(transport)
