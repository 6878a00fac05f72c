"""Signing in: how many a second, and what open streams notice of it."""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import os  # noqa: E402
import time  # noqa: E402
from dataclasses import dataclass  # noqa: E402

import gevent  # noqa: E402
from gevent.threadpool import ThreadPool  # noqa: E402

from devstack.bench.report import Measure, Row, ms, row  # noqa: E402
from devstack.bench.stream_clients import Probe, Reader, make_runs, write  # noqa: E402
from devstack.bench.tools import Facts, connect, exchange, request, sign_in, tell  # noqa: E402
from devstack.bench.usage import Meter  # noqa: E402
from devstack.stack import EMAIL, PASSWORD  # noqa: E402
from models.auth.password_hashing import PasswordHasher  # noqa: E402

CONNECTIONS, SECONDS, STREAMS, RATE = 16, 5, 300, 20
RAW = request("POST", "/api/v1/auth/token", {}, json.dumps({"email": EMAIL, "password": PASSWORD}).encode())


@dataclass
class Noticed:
    delivery: list[float]
    health: list[float]
    signed: list[float]
    whole: int


def throughput(facts: Facts) -> list[Row]:
    waits: list[float] = []
    until, meter = time.perf_counter() + SECONDS, Meter({"edge": facts.pids["edge"]})

    def client() -> None:
        sock = connect(facts.url)
        while time.perf_counter() < until:
            began = time.perf_counter()
            exchange(sock, RAW)
            waits.append(time.perf_counter() - began)

    gevent.joinall([gevent.spawn(client) for _ in range(CONNECTIONS)], raise_error=True)
    used, what = meter.used()["edge"], f"sign-ins over {CONNECTIONS} connections"
    rate, alone = Measure((len(waits) / SECONDS,), "/s"), bare()
    return [
        row(what, "sign-ins a second", rate, Measure((alone,), "/s", "argon2 alone, all cores"), better="higher"),
        row(what, "p50 / p99", ms(waits)),
        row(
            what,
            "CPU of the edge per sign-in",
            Measure((1000 * used / len(waits),), "ms"),
            Measure((1000 * (os.cpu_count() or 1) / alone,), "ms", "argon2 alone"),
        ),
    ]


def bare() -> float:
    """Password checks a second without a service around them, in real threads."""
    pool, hasher, count = ThreadPool(os.cpu_count()), PasswordHasher(), 60
    password_hash = hasher.hash(PASSWORD)
    began = time.perf_counter()
    for job in [pool.spawn(hasher.matches, password_hash, PASSWORD) for _ in range(count)]:  # argon2 lets go of the GIL
        job.get()
    return count / (time.perf_counter() - began)


def streaming(facts: Facts, who: dict[str, str], rate: int) -> Noticed:
    """What STREAMS open streams and the probe notice of `rate` sign-ins a second."""
    run_ids = make_runs(STREAMS, who)
    readers = [Reader(run_id, facts.url, who) for run_id in run_ids]
    reading = [gevent.spawn(reader.read) for reader in readers]
    gevent.sleep(2)
    signed: list[float] = []
    probe, arriving = Probe(facts.url), gevent.spawn(arrive, facts.url, rate, signed)
    write(run_ids, False)
    gevent.joinall(reading, timeout=20)
    arriving.kill()
    health = probe.stop()
    for reader in readers:
        reader.sock.close()
    delivery = [wait for reader in readers for wait in reader.waits]
    return Noticed(delivery, health, signed, sum(reader.ended for reader in readers))


def arrive(url: str, rate: int, waits: list[float]) -> None:
    """Sign-ins that do not wait for each other."""

    def one() -> None:
        began, sock = time.perf_counter(), connect(url)
        exchange(sock, RAW)
        waits.append(time.perf_counter() - began)
        sock.close()

    while rate:
        gevent.spawn(one)
        gevent.sleep(1 / rate)


def main() -> None:
    facts = Facts.given()
    rows = throughput(facts)
    who = sign_in(facts.url)
    quiet, busy = streaming(facts, who, 0), streaming(facts, who, RATE)
    what, note = f"{STREAMS} streams x 5/s, {RATE} sign-ins/s", "without sign-ins"
    rows += [
        row(what, "delivery p50 / p99", ms(busy.delivery), ms(quiet.delivery, note=note)),
        row(what, "complete", f"{busy.whole} of {STREAMS}", f"{quiet.whole} of {STREAMS} ({note})"),
        row(what, "/health p50 / p99", ms(busy.health), ms(quiet.health, note=note)),
        row(what, "sign-in p50 / p99", ms(busy.signed, note=f"{len(busy.signed)} of them")),
    ]
    tell(rows)


if __name__ == "__main__":
    main()
