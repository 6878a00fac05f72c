"""Notices at once when a client leaves while nothing is being written to it."""

import errno
from contextlib import nullcontext

import gevent
from gevent import monkey
from gevent import socket as green

_PlainSocket = monkey.get_original("socket", "socket")
_LOOK = green.MSG_PEEK | green.MSG_DONTWAIT
_READ = 1


class ClientLeft(ConnectionResetError):
    """The client closed its connection before the answer was complete."""

    def __init__(self):
        super().__init__(errno.ECONNRESET, "the client left")


class _Watch:
    """Raises ClientLeft in the greenlet that entered, wherever it waits.

    PERF: one watcher for a whole stream costs far less than waiting for the socket between every two deltas.
    """

    def __init__(self, sock):
        self.descriptor = sock.fileno()

    def __enter__(self):
        self.greenlet = gevent.getcurrent()
        self.watcher = gevent.get_hub().loop.io(self.descriptor, _READ)
        self.watcher.start(self.look)

    def __exit__(self, *_):
        self.watcher.stop()
        self.watcher.close()

    def look(self):
        """Runs in the hub. Readable means: left, or a next request came early, which ends the watching."""
        sock = _PlainSocket(fileno=self.descriptor)
        try:
            left = not sock.recv(1, _LOOK)
        except BlockingIOError:
            return
        except OSError:
            left = True
        finally:
            sock.detach()
        self.watcher.stop()
        if left:
            self.greenlet.throw(ClientLeft())


def watched(sock):
    return _Watch(sock) if sock is not None else nullcontext()
