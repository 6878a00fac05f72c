"""Detects at once that a client has disconnected, even while nothing is being written to it."""

import errno
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType

import gevent
from gevent import monkey
from gevent import socket as green

_PlainSocket = monkey.get_original("socket", "socket")
_PEEK = green.MSG_PEEK | green.MSG_DONTWAIT
_READ = 1  # libev event


class ClientDisconnected(ConnectionResetError):
    """The client closed its connection before the answer was complete."""

    def __init__(self) -> None:
        super().__init__(errno.ECONNRESET, "the client disconnected")


class _Watch:
    """Raises ClientDisconnected in the greenlet that entered the block, wherever it waits.

    PERF: one watcher for a whole stream costs far less than waiting for the socket between every two deltas.
    """

    def __init__(self, sock: green.socket) -> None:
        self.descriptor = sock.fileno()

    def __enter__(self) -> None:
        self.greenlet = gevent.getcurrent()
        self.watcher = gevent.get_hub().loop.io(self.descriptor, _READ)
        self.watcher.start(self._check)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.watcher.stop()
        self.watcher.close()

    def _check(self) -> None:
        """Runs in the hub when the socket is readable: the client disconnected, or sent its next request early.

        An early request ends the watching, since the socket now stays readable.
        """
        sock = _PlainSocket(fileno=self.descriptor)
        try:
            disconnected = not sock.recv(1, _PEEK)
        except BlockingIOError:
            return
        except OSError:
            disconnected = True
        finally:
            sock.detach()
        self.watcher.stop()
        if disconnected:
            self.greenlet.throw(ClientDisconnected())


def watched(sock: green.socket | None) -> AbstractContextManager[None]:
    """Within the block, raise ClientDisconnected when the client closes `sock`. None is not watched."""
    return _Watch(sock) if sock is not None else nullcontext()
