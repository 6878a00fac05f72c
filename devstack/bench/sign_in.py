"""Signing in: how many a second, and what open streams notice of it."""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402

import gevent  # noqa: E402
from gevent.threadpool import ThreadPool  # noqa: E402

from devstack.bench.streams import Reader, make_runs, probe, write  # noqa: E402
from devstack.bench.tools import connect, cpu, ms, request, row, sign_in  # noqa: E402
from devstack.stack import EMAIL, PASSWORD  # noqa: E402
from models.auth.password_hashing import PasswordHasher  # noqa: E402

CONNECTIONS, SECONDS, STREAMS, RATE = 16, 5, 300, 20
BODY = json.dumps({"email": EMAIL, "password": PASSWORD}).encode()


def one(sock) -> float:
    """Sign in over a kept connection; seconds it took."""
    began = time.perf_counter()
    sock.sendall(request("POST", "/api/v1/auth/token", {}, BODY))
    data = sock.recv(65536)
    if not data.startswith(b"HTTP/1.1 200"):
        raise SystemExit(data.decode())
    size = int(data[data.lower().index(b"content-length:") + 15 :].split(b"\r\n", 1)[0])
    body = data.partition(b"\r\n\r\n")[2]
    while len(body) < size:
        body += sock.recv(65536)
    return time.perf_counter() - began


def throughput(facts: dict) -> dict:
    waits, until, used = [], time.perf_counter() + SECONDS, cpu(facts["pids"]["edge"])

    def client() -> None:
        sock = connect(facts["url"])
        while time.perf_counter() < until:
            waits.append(one(sock))

    gevent.joinall([gevent.spawn(client) for _ in range(CONNECTIONS)])
    used = cpu(facts["pids"]["edge"]) - used
    return row(
        f"sign-ins over {CONNECTIONS} connections",
        f"p50 / p99 {ms(waits, 0.5, 0.99)}",
        f"{len(waits) / SECONDS:.0f}/s, edge CPU {1000 * used / len(waits):.0f} ms each",
        f"argon2 alone on all cores: {bare():.0f}/s",
    )


def bare() -> float:
    """Password checks a second without a service around them, in real threads."""
    pool, hasher, count = ThreadPool(os.cpu_count()), PasswordHasher(), 60
    password_hash = hasher.hash(PASSWORD)
    began = time.perf_counter()
    for job in [pool.spawn(hasher.matches, password_hash, PASSWORD) for _ in range(count)]:  # argon2 lets go of the GIL
        job.get()
    return count / (time.perf_counter() - began)


def streaming(facts: dict, who: dict, rate: int) -> tuple[list[float], list[float], list[float], int]:
    """(delivery, /health, sign-in) seconds, and how many streams were complete, with `rate` sign-ins a second."""
    run_ids = make_runs(STREAMS, who)
    readers = [Reader(run_id, facts, who) for run_id in run_ids]
    reading = [gevent.spawn(reader.read) for reader in readers]
    gevent.sleep(2)
    health: list[float] = []
    signed: list[float] = []
    busy = [gevent.spawn(probe, facts["url"], health), gevent.spawn(arrive, facts["url"], rate, signed)]
    write(run_ids, False)
    gevent.joinall(reading, timeout=20)
    gevent.killall(busy)
    for reader in readers:
        reader.sock.close()
    return [wait for reader in readers for wait in reader.waits], health, signed, sum(r.ended for r in readers)


def arrive(url: str, rate: int, waits: list[float]) -> None:
    """Sign-ins that do not wait for each other."""
    while rate:
        gevent.spawn(lambda: waits.append(one(connect(url))))
        gevent.sleep(1 / rate)


def main() -> None:
    facts = json.loads(sys.argv[1])
    rows = [throughput(facts)]
    who = sign_in(facts["url"])
    quiet, busy = streaming(facts, who, 0), streaming(facts, who, RATE)
    what = f"{STREAMS} streams x 5/s, {RATE} sign-ins/s"
    rows += [
        row(what, "delivery p50 / p99", ms(busy[0], 0.5, 0.99), f"without sign-ins {ms(quiet[0], 0.5, 0.99)}"),
        row(what, "complete", f"{busy[3]} of {STREAMS}", f"without sign-ins {quiet[3]}"),
        row(what, "/health p50 / p99", ms(busy[1], 0.5, 0.99), f"without sign-ins {ms(quiet[1], 0.5, 0.99)}"),
        row(what, "sign-in p50 / p99", ms(busy[2], 0.5, 0.99), f"{len(busy[2])} of them"),
    ]
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
