"""The status page, its JSON and its feed from memory, beside a bare answer as large as the page, from the same gunicorn."""

from gevent import monkey

monkey.patch_all()

import socket  # noqa: E402
import time  # noqa: E402

import gevent  # noqa: E402

from devstack.bench.reads import CONNECTIONS, ROUNDS, SECONDS, Tally  # noqa: E402
from devstack.bench.report import Row, Target, ms, row  # noqa: E402
from devstack.bench.tools import Setup, connect, exchange, print_rows  # noqa: E402
from devstack.bench.usage import Meter  # noqa: E402

PATHS = ("/status", "/api/v1/status", "/api/v1/status/rss")
UNCHANGED = "/status, unchanged"
TARGET = Target(
    "ratio", (0.25,)
)  # what the edge does for every request, such as limits, log and metrics, costs the rest


def request(path: str, *, keeps: bool) -> bytes:
    known = "If-None-Match: *\r\n" if keeps else ""  # whichever it has: the page changes each minute
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept-Encoding: gzip\r\n{known}\r\n".encode()


def exchange_unchanged(sock: socket.socket, raw: bytes) -> None:
    """SystemExit unless the answer is a 304, which has no body."""
    sock.sendall(raw)
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        part = sock.recv(65536)
        data += part
        if not part or not data.startswith(b"HTTP/1.1 304"[: len(data)]):
            raise SystemExit(data.decode(errors="replace"))


def client(url: str, path: str, until: float, latencies: list[float], keeps: bool) -> None:
    """A browser that asks again and again. One that `keeps` the page asks whether it has changed."""
    sock, raw = connect(url), request(path, keeps=keeps)
    while time.perf_counter() < until:
        began = time.perf_counter()
        (exchange_unchanged if keeps else exchange)(sock, raw)
        latencies.append(time.perf_counter() - began)
    sock.close()


def load(url: str, pid: int, path: str, tally: Tally, *, keeps: bool = False, seconds: float = SECONDS) -> None:
    meter, began = Meter({"server": pid}), time.perf_counter()
    arguments = url, path, began + seconds, tally.latencies, keeps
    gevent.joinall([gevent.spawn(client, *arguments) for _ in range(CONNECTIONS)], raise_error=True)
    tally.seconds += time.perf_counter() - began
    tally.cpu += meter.used()["server"]


def measure(setup: Setup) -> list[Row]:
    """Each kind of answer in turn, several times, so that other load on the machine affects all alike."""
    edge = setup.url, setup.pids["edge"]
    kinds = {path: (*edge, path) for path in PATHS} | {"bare": (setup.peer_url or "", setup.pids["bare"], "/")}
    tallies = {name: Tally() for name in [*kinds, UNCHANGED]}
    for round_number in range(ROUNDS + 1):
        counted = tallies if round_number else {name: Tally() for name in tallies}  # the first one warms up
        for name, (url, pid, path) in kinds.items():
            load(url, pid, path, counted[name])
        load(*edge, PATHS[0], counted[UNCHANGED], keeps=True)
    bare = tallies.pop("bare")
    return [
        line
        for name, tally in tallies.items()
        for line in (
            row(f"GET {name}", "requests per second", tally.rate(), bare.rate(), target=TARGET, better="higher"),
            row(f"GET {name}", "latency, p50 / p99", ms(tally.latencies), ms(bare.latencies)),
            row(f"GET {name}", "CPU of the server per request", tally.cost(), bare.cost()),
        )
    ]


def main() -> None:
    print_rows(measure(Setup.from_arguments()))


if __name__ == "__main__":
    main()
