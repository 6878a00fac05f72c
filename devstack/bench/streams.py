"""Many open streams on one process, ours and the peer's in turn."""

from gevent import monkey

monkey.patch_all()

import random  # noqa: E402
import time  # noqa: E402
from dataclasses import dataclass  # noqa: E402

import gevent  # noqa: E402

from devstack.bench.report import Measure, Row, Target, format_number, ms, quantile, row  # noqa: E402
from devstack.bench.stream_clients import RATE, SECONDS, Probe, make_runs, open_readers, write  # noqa: E402
from devstack.bench.tools import Service, Setup, all_services, print_rows, sign_in  # noqa: E402
from devstack.bench.usage import Meter, resident  # noqa: E402

STREAMS, FALL_BACK = 1000, (500, 250, 100)  # the peer may not keep up with that many
IDLE = 5000
OTHERS = {"client": "load client", "valkey": "Valkey"}
MAX_DELAY_SECONDS = 1  # a service whose median delivery is later than this does not keep up


@dataclass
class Result:
    """The result of `count` streams."""

    count: int
    complete: int
    latencies: list[float]
    health: list[float]
    cpu: dict[str, float]  # seconds

    @property
    def keeps_up(self) -> bool:
        return self.complete == self.count and quantile(self.latencies, 0.5) < MAX_DELAY_SECONDS

    def cost(self, name: str) -> Measure:
        return Measure((1000 * self.cpu[name] / max(1, len(self.latencies)),), "ms")

    def others(self) -> str:
        return ", ".join(f"{title} {format_number(self.cost(name).numbers[0])}" for name, title in OTHERS.items())


def busy(service: Service, setup: Setup, user: dict[str, str], count: int, at_once: bool) -> Result:
    """Open one stream on each of `count` runs and write RATE events/s to each."""
    run_ids = make_runs(count, user)
    readers = open_readers(run_ids, service.url, user)
    reading = [gevent.spawn(reader.read) for reader in readers]
    gevent.sleep(1)
    probe, meter = Probe(service.url), Meter({"server": service.pid, "valkey": setup.pids["valkey"]})
    write(run_ids, at_once)
    gevent.joinall(reading, timeout=20)
    used = meter.used()
    gevent.killall(reading)
    health = probe.stop()
    for reader in readers:
        reader.sock.close()
    complete = sum(reader.ended and reader.numbers == list(range(RATE * SECONDS)) for reader in readers)
    return Result(count, complete, [latency for reader in readers for latency in reader.latencies], health, used)


def peer_result(service: Service, setup: Setup, user: dict[str, str], at_once: bool) -> tuple[Result, str]:
    """The result for as many streams as ours, or for fewer if the peer cannot keep up, with a note."""
    results = [busy(service, setup, user, STREAMS, at_once)]
    for count in FALL_BACK:
        if results[-1].keeps_up:
            break
        gevent.sleep(5)
        results.append(busy(service, setup, user, count, at_once))
    first, last = results[0], results[-1]
    late = f"{quantile(first.latencies, 0.5):.1f} s late" if first.latencies else "silent"
    return last, "" if first is last else f"{last.count} streams; {late} with {STREAMS}"


def compare(setup: Setup, user: dict[str, str], at_once: bool) -> list[Row]:
    service, *peers = all_services(setup)
    ours = busy(service, setup, user, STREAMS, at_once)
    peer, fewer = peer_result(peers[0], setup, user, at_once) if peers else (None, "")
    scenario = f"{STREAMS} streams x {RATE}/s" + (", all at the same instant" if at_once else "")
    delivery, health = (None, None) if at_once else (Target("<=", (100,)), Target("<=", (50,)))
    results = [ours, peer] if peer else [ours]

    def latency_row(name: str, latencies: list[list[float]], part: float, target: Target | None = None) -> Row:
        peers = [ms(latencies[1], part, note=fewer)] if len(latencies) > 1 else [setup.no_peer]
        return row(scenario, name, ms(latencies[0], part), *peers, target=target)

    return [
        row(scenario, "complete and in order", *(f"{result.complete} of {result.count}" for result in results)),
        latency_row("delivery, p50", [result.latencies for result in results], 0.5),
        latency_row("delivery, p99", [result.latencies for result in results], 0.99, delivery),
        latency_row("/health during the load, p50", [result.health for result in results], 0.5),
        latency_row("/health during the load, p99", [result.health for result in results], 0.99, health),
        row(scenario, "CPU of the server per event", *(result.cost("server") for result in results)),
        row(scenario, "CPU of the other processes, ms per event", *(result.others() for result in results)),
    ]


def idle(service: Service, user: dict[str, str], count: int) -> tuple[Measure, Measure, str]:
    """Memory per stream, CPU usage, and how many of 20 streams deliver when their run gets events."""
    run_ids, before = make_runs(count, user), resident(service.pid)[0]
    readers = open_readers(run_ids, service.url, user)
    gevent.sleep(5)
    growth = resident(service.pid)[0] - before
    meter, began = Meter({"server": service.pid}), time.perf_counter()
    gevent.sleep(15)  # one full interval of keep-alive comments
    share = 100 * meter.used()["server"] / (time.perf_counter() - began)
    sample = random.sample(range(count), 20)
    reading = [gevent.spawn(readers[n].read) for n in sample]
    write([run_ids[n] for n in sample], True)
    gevent.joinall(reading, timeout=5)
    gevent.killall(reading)
    for reader in readers:
        reader.sock.close()
    answered = sum(readers[n].ended for n in sample)
    return Measure((1024 * growth / count,), "KB"), Measure((share,), "%"), f"{answered} of 20"


def idle_rows(setup: Setup, user: dict[str, str]) -> list[Row]:
    """Run this first: later, memory freed by other streams would be reused and not counted."""
    results = [idle(service, user, IDLE) for service in all_services(setup)]
    memory, share, completed = zip(*results, strict=True)
    scenario, missing = f"{IDLE} idle streams", [] if len(results) > 1 else [setup.no_peer]
    return [
        row(scenario, "memory of the server per stream", *memory, *missing, target=Target("<=", (40,))),
        row(scenario, "CPU of the server, % of a core", *share, *missing),
        row(scenario, "sampled streams that deliver new events", *completed, *missing),
    ]


def main() -> None:
    setup = Setup.from_arguments()
    user = sign_in(setup.url)
    print_rows(idle_rows(setup, user) + compare(setup, user, False) + compare(setup, user, True))


if __name__ == "__main__":
    main()
