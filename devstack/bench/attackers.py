"""Clients that want the service to themselves: `python -m devstack.bench.attackers KIND URL SOURCE SECONDS`.

They run in a process of their own, so that they do not delay the clients that measure. They come from the local address
SOURCE, come back when they are sent away, and print how often they got which status ("": none).
"""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import random  # noqa: E402
import resource  # noqa: E402
import socket  # noqa: E402
import sys  # noqa: E402
from collections import Counter  # noqa: E402
from collections.abc import Callable  # noqa: E402

import gevent  # noqa: E402

from devstack.bench.tools import connect, request  # noqa: E402
from devstack.stack import EMAIL, PASSWORD  # noqa: E402

TOKEN = "/api/v1/auth/token"
SIGN_IN = request("POST", TOKEN, {}, json.dumps({"email": EMAIL, "password": PASSWORD}).encode())
ACCEPTED = request(
    "POST", TOKEN, {}, b'{"x":[' + b'"\\u00e9",' * 900 + b'"' + b"x" * 7000 + b'"]}'
)  # within the limits
FLAT = request("POST", TOKEN, {}, b"[" + b"1," * 500_000 + b"1]")
NESTED = request("POST", TOKEN, {}, b"[" * 8_000 + b"]" * 8_000)
SLOW = request("POST", TOKEN, {}, b" " * 1000)[:-1000]
statuses: Counter[str] = Counter()


class Attack:
    def __init__(self, url: str, source: str):
        self.url, self.source = url, source

    def once(self, raw: bytes) -> None:
        """Send a request on a new connection and count the answer."""
        status = ""
        try:
            sock = connect(self.url, self.source)
            sock.sendall(raw)
            status = sock.recv(4096)[9:12].decode()
            sock.close()
        except OSError:
            pass  # sent away
        statuses[status] += 1

    def hold(self, head: bytes, trickle: bytes) -> None:
        """Keep a connection open: send `head`, then `trickle` once a second. Come back about a second after the end."""
        while True:
            gevent.sleep(random.uniform(0.5, 1.5))
            try:
                sock = connect(self.url, self.source)
                sock.sendall(head)
                sock.settimeout(1)
                self._wait(sock, trickle)
            except OSError:
                statuses[""] += 1

    @staticmethod
    def _wait(sock: socket.socket, trickle: bytes) -> None:
        while True:
            try:
                status = sock.recv(4096)[9:12].decode()
                statuses[status] += 1
                return
            except TimeoutError:
                sock.sendall(trickle)

    def slow_bodies(self) -> None:
        for _ in range(500):
            gevent.spawn(self.hold, SLOW, b" ")

    def idle(self) -> None:
        for _ in range(1000):
            gevent.spawn(self.hold, b"", b"")

    def bodies(self) -> None:
        self._repeat(0.04, lambda: [gevent.spawn(self.once, raw) for raw in (ACCEPTED, FLAT, ACCEPTED, NESTED)])

    def sign_ins(self) -> None:
        self._repeat(2.5, lambda: [gevent.spawn(self.once, SIGN_IN) for _ in range(200)])

    @staticmethod
    def _repeat(seconds: float, act: Callable[[], object]) -> None:
        def loop() -> None:
            while True:
                act()
                gevent.sleep(seconds)

        gevent.spawn(loop)


def main() -> None:
    kind, url, source, seconds = sys.argv[1:]
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    getattr(Attack(url, source), kind)()
    gevent.sleep(float(seconds))
    print(json.dumps(statuses))


if __name__ == "__main__":
    main()
