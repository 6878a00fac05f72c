"""gunicorn's gevent worker, with limits on what a client's connection may cost: time, bytes and places.

What gunicorn limits itself is set in edge/gunicorn.py: the size of a head, and the time it may take to arrive.
"""

import contextlib
import socket
from typing import Any

import gevent
from gevent.socket import socket as GeventSocket  # noqa: N812  (it is a class)
from gunicorn.workers.ggevent import GeventWorker

OVERHEAD_BYTES = 65_536  # what a request may send in addition to the largest body: its head, and the sizes of chunks
DRAIN_STEP = 1_048_576  # bytes


class ClientSocket(GeventSocket):  # type: ignore[misc]
    """The connection of one client.

    `waits`     nothing is being done for this client; the next bytes are awaited
    `was_fair`  the others have just had their turn: a client that always has more to say must not keep them from running
    """

    def __init__(self, accepted: GeventSocket, left: int, send_seconds: float) -> None:
        """`left`: the number of bytes that may still be received. `send_seconds`: how long one `sendall` may take."""
        super().__init__(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())
        self.left, self.send_seconds = left, send_seconds
        self.waits, self.was_fair = False, True

    def recv(self, size: int, flags: int = 0) -> bytes:
        """What has arrived. If nothing may be received any more: the end, as if the client had left."""
        if not self.was_fair:
            gevent.sleep(0)
        self.was_fair = False
        if not self.left:
            return b""
        self.waits = True
        try:
            data: bytes = super().recv(min(size, self.left), flags)
        except OSError:
            if self.left:
                raise
            return b""  # after hang_up
        finally:
            self.waits = False
        self.left = max(0, self.left - len(data))  # it may have become 0 meanwhile
        return data

    def sendall(self, data: Any, flags: int = 0) -> None:
        """TimeoutError if the client does not take the data in time."""
        self.settimeout(self.send_seconds)
        try:
            super().sendall(data, flags)
        finally:
            self.settimeout(None)

    def hang_up(self) -> None:
        """End the connection, from another greenlet. The one that waits for the client sees the end."""
        self.left = 0
        with contextlib.suppress(OSError):  # the client was faster
            self.shutdown(socket.SHUT_RDWR)


class Worker(GeventWorker):  # type: ignore[misc]
    """Imports of ours are inside its methods: gunicorn's main process loads this module, but needs none of them."""

    def load_wsgi(self) -> None:
        from edge.middleware import Proxies
        from edge.places import Places
        from models.platform.settings import settings

        super().load_wsgi()
        self.connections = Places("connections")
        self.proxies = Proxies(settings.items(settings.trusted_proxies))

    def handle(self, listener: Any, client: GeventSocket, addr: Any) -> None:
        """Serve a connection, unless its network has too many that are all in use.

        Trusted proxies may have any number, and so may clients on a local socket, which have no address.
        """
        from models.platform.client_info import ClientInfo
        from models.platform.settings import settings

        address = addr[0] if addr else ""
        network = ClientInfo(address).wide_network
        limit = 0 if not address or self.proxies.contain(address) else settings.network_connection_limit
        sock = ClientSocket(client, most_bytes(), settings.answer_timeout_seconds)
        try:
            if self.connections.add(network, sock, sock, limit):
                super().handle(listener, sock, addr)
        finally:
            self.connections.remove(network, sock)
            sock.close()

    def handle_request(self, listener_name: Any, req: Any, sock: ClientSocket, addr: Any) -> None:
        """Answer a request. A client that does not take what is sent to it in time is cut off."""
        from edge import metrics
        from models.platform.settings import settings

        try:
            super().handle_request(listener_name, req, sock, addr)
            _drain(req, sock, settings.anonymous_body_timeout_seconds)
        except TimeoutError:
            metrics.REFUSED.labels("slow_reader").inc()
            raise StopIteration from None
        finally:
            sock.left = most_bytes()
        gevent.sleep(0)
        sock.was_fair = True


def most_bytes() -> int:
    """What one request may send, whatever it is for: events of Stripe have a limit of their own."""
    from models.platform.settings import settings

    return max(settings.request_body_limit_bytes, settings.stripe_webhook_body_limit_bytes) + OVERHEAD_BYTES


def _drain(req: Any, sock: ClientSocket, seconds: float) -> None:
    """Read what is left of the body, so that the next request can be read. StopIteration, which hangs up, if it is late.

    gunicorn would do it too, but a kilobyte at a time, each of which copies all that has arrived.
    """
    if any(name == "TRANSFER-ENCODING" for name, _ in req.headers):
        sock.left = min(sock.left, OVERHEAD_BYTES)  # chunks may be as small as a byte, and each takes time
    with gevent.Timeout(seconds, False):
        while not req.body.failed and req.body.read(DRAIN_STEP):
            pass
        return
    raise StopIteration
