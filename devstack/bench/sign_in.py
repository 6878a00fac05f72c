"""Sign-ins per second, and their effect on open streams."""

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
from devstack.bench.tools import Setup, connect, exchange, print_rows, request, sign_in  # noqa: E402
from devstack.bench.usage import Meter  # noqa: E402
from devstack.stack import EMAIL, PASSWORD  # noqa: E402
from models.auth.password_hashing import PasswordHasher  # noqa: E402

CONNECTIONS, SECONDS, STREAMS, RATE = 16, 5, 300, 20
RAW = request("POST", "/api/v1/auth/token", {}, json.dumps({"email": EMAIL, "password": PASSWORD}).encode())


@dataclass
class StreamingResult:
    delivery: list[float]
    health: list[float]
    sign_ins: list[float]
    complete: int


def throughput(setup: Setup) -> list[Row]:
    latencies: list[float] = []
    until, meter = time.perf_counter() + SECONDS, Meter({"edge": setup.pids["edge"]})

    def client() -> None:
        sock = connect(setup.url)
        while time.perf_counter() < until:
            began = time.perf_counter()
            exchange(sock, RAW)
            latencies.append(time.perf_counter() - began)

    gevent.joinall([gevent.spawn(client) for _ in range(CONNECTIONS)], raise_error=True)
    used, scenario = meter.used()["edge"], f"sign-ins over {CONNECTIONS} connections"
    rate, alone = Measure((len(latencies) / SECONDS,), "/s"), argon2_rate()
    return [
        row(scenario, "sign-ins per second", rate, Measure((alone,), "/s", "argon2 alone, all cores"), better="higher"),
        row(scenario, "latency, p50 / p99", ms(latencies)),
        row(
            scenario,
            "CPU of the edge per sign-in",
            Measure((1000 * used / len(latencies),), "ms"),
            Measure((1000 * (os.cpu_count() or 1) / alone,), "ms", "argon2 alone"),
        ),
    ]


def argon2_rate() -> float:
    """Password checks per second without a service, in real threads."""
    pool, hasher, count = ThreadPool(os.cpu_count()), PasswordHasher(), 60
    password_hash = hasher.hash(PASSWORD)
    began = time.perf_counter()
    for job in [pool.spawn(hasher.matches, password_hash, PASSWORD) for _ in range(count)]:  # argon2 releases the GIL
        job.get()
    return count / (time.perf_counter() - began)


def streaming(setup: Setup, user: dict[str, str], rate: int) -> StreamingResult:
    """Measure STREAMS open streams and /health during `rate` sign-ins/s."""
    run_ids = make_runs(STREAMS, user)
    readers = [Reader(run_id, setup.url, user) for run_id in run_ids]
    reading = [gevent.spawn(reader.read) for reader in readers]
    gevent.sleep(2)
    sign_ins: list[float] = []
    probe, signing_in = Probe(setup.url), gevent.spawn(send_sign_ins, setup.url, rate, sign_ins)
    write(run_ids, False)
    gevent.joinall(reading, timeout=20)
    signing_in.kill()
    health = probe.stop()
    for reader in readers:
        reader.sock.close()
    delivery = [latency for reader in readers for latency in reader.latencies]
    return StreamingResult(delivery, health, sign_ins, sum(reader.ended for reader in readers))


def send_sign_ins(url: str, rate: int, latencies: list[float]) -> None:
    """Start `rate` sign-ins/s. They do not wait for each other."""

    def sign_in_once() -> None:
        began, sock = time.perf_counter(), connect(url)
        exchange(sock, RAW)
        latencies.append(time.perf_counter() - began)
        sock.close()

    while rate:
        gevent.spawn(sign_in_once)
        gevent.sleep(1 / rate)


def main() -> None:
    setup = Setup.from_arguments()
    rows = throughput(setup)
    user = sign_in(setup.url)
    quiet, busy = streaming(setup, user, 0), streaming(setup, user, RATE)
    scenario, note = f"{STREAMS} streams x 5/s, {RATE} sign-ins/s", "without sign-ins"
    rows += [
        row(scenario, "delivery, p50 / p99", ms(busy.delivery), ms(quiet.delivery, note=note)),
        row(scenario, "complete", f"{busy.complete} of {STREAMS}", f"{quiet.complete} of {STREAMS} ({note})"),
        row(scenario, "/health, p50 / p99", ms(busy.health), ms(quiet.health, note=note)),
        row(scenario, "sign-in, p50 / p99", ms(busy.sign_ins, note=f"{len(busy.sign_ins)} sign-ins")),
    ]
    print_rows(rows)


if __name__ == "__main__":
    main()
