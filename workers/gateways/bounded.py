"""Connections whose requests end in time, however slowly the other side speaks: a timeout of a socket begins anew with each byte."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any, cast

import httpx2


class Bounded(httpx2.BaseTransport):
    """A pool. A request and its answer, read to the end, take `seconds` at most; then httpx2.ReadTimeout is raised."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.idle = seconds, list[_Line]()
        self.context = httpx2.create_ssl_context()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        try:
            line = self.idle.pop()
        except IndexError:
            line = _Line(self.context)
        clock = _Clock(line, self.seconds)
        try:
            with clock.explained():
                response = line.transport.handle_request(_traced(request, line))
        except BaseException:
            clock.stop()
            line.close()
            raise
        response.stream = _Body(cast(httpx2.SyncByteStream, response.stream), self, line, clock)
        return response

    def close(self) -> None:
        while self.idle:
            self.idle.pop().close()


class _Line:
    """One connection, opened anew when the other side has closed it."""

    def __init__(self, context: Any) -> None:
        one = httpx2.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=30)
        self.transport = httpx2.HTTPTransport(verify=context, limits=one)
        self.socket: socket.socket | None = None

    def trace(self, event: str, info: dict[str, Any]) -> None:
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self.socket = info["return_value"].get_extra_info("socket")

    def break_off(self) -> None:
        if self.socket is not None:
            with contextlib.suppress(OSError):  # it is closed already
                self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.transport.close()


class _Clock:
    def __init__(self, line: _Line, seconds: float) -> None:
        self.line, self.is_over = line, False
        self.timer = threading.Timer(seconds, self._end)
        self.timer.daemon = True
        self.timer.start()

    def _end(self) -> None:
        self.is_over = True
        self.line.break_off()

    def stop(self) -> None:
        self.timer.cancel()

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """What breaks because the time is over is a timeout."""
        try:
            yield
        except httpx2.TransportError as error:
            if self.is_over:
                raise httpx2.ReadTimeout("The answer was not complete in time.") from error
            raise


class _Body(httpx2.SyncByteStream):
    def __init__(self, stream: httpx2.SyncByteStream, pool: Bounded, line: _Line, clock: _Clock) -> None:
        self.stream, self.pool, self.line, self.clock = stream, pool, line, clock
        self.is_closed = False

    def __iter__(self) -> Iterator[bytes]:
        with self.clock.explained():
            yield from self.stream

    def close(self) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        self.clock.stop()
        self.stream.close()
        if self.clock.is_over:
            self.line.close()
        else:
            self.pool.idle.append(self.line)


def _traced(request: httpx2.Request, line: _Line) -> httpx2.Request:
    request.extensions = {**request.extensions, "trace": line.trace}
    return request
