"""Many chats at once, each 20 deltas 20 ms apart: on one edge and one worker-agents process, and on the peer's one process."""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import os  # noqa: E402
import time  # noqa: E402
from dataclasses import dataclass, field  # noqa: E402

import gevent  # noqa: E402
import psycopg2  # noqa: E402

from devstack.bench.report import Measure, Row, Target, format_number, ms, row  # noqa: E402
from devstack.bench.tools import Service, Setup, all_services, connect, print_rows, request, sign_in  # noqa: E402
from devstack.bench.usage import Meter  # noqa: E402

DELTAS, ROUNDS, SPREAD_SECONDS = 20, 3, 2.5
MESSAGE = f"[[deltas={DELTAS} delay=20ms]] Tell me"
OTHERS = {"client": "load client", "openai": "model stand-in", "postgres": "Postgres", "valkey": "Valkey"}


@dataclass
class Tally:
    """The results of all bursts on one service."""

    firsts: list[float] = field(default_factory=list)
    chats: int = 0
    complete: int = 0
    stored: int = 0
    seconds: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)

    def cost(self, names: list[str]) -> Measure:
        return Measure(tuple(1000 * self.cpu[name] / self.chats for name in names), "ms")

    def others(self) -> str:
        costs = ((title, 1000 * self.cpu[name] / self.chats) for name, title in OTHERS.items() if name in self.cpu)
        return ", ".join(f"{title} {format_number(cost)}" for title, cost in costs)


def chat(url: str, user: dict[str, str], tally: Tally, body: bytes) -> None:
    began, first, seen = time.perf_counter(), 0.0, b""
    sock = connect(url)
    sock.sendall(request("POST", "/api/v1/chat/stream", user, body))
    while b'"is_terminal":true' not in seen[-4000:]:
        part = sock.recv(65536)
        seen += part
        if not part or not seen.startswith(b"HTTP/1.1 200"[: len(seen)]):
            break
        if not first and b'"text_delta":"' in seen:
            first = time.perf_counter() - began
            tally.firsts.append(first)
    sock.close()
    tally.complete += seen.count(b'"text_delta":"') == DELTAS and b'"kind":"error"' not in seen


def answers() -> int:
    """The number of answers in Postgres."""
    connection = psycopg2.connect(os.environ["DATABASE_URL"])
    cursor = connection.cursor()
    cursor.execute("select count(*) from message where role = 'assistant'")
    (count,) = cursor.fetchone() or (0,)
    connection.close()
    return int(count)


def burst(
    count: int,
    spread: float,
    service: Service,
    setup: Setup,
    user: dict[str, str],
    tally: Tally,
    *,
    message: str = MESSAGE,
) -> None:
    body = json.dumps({"message": message}).encode()
    parts = {name: setup.pids[name] for name in OTHERS if name in setup.pids}
    before, meter, began = answers(), Meter(service.pids | parts), time.perf_counter()
    gevent.joinall(
        [gevent.spawn_later(n * spread / count, chat, service.url, user, tally, body) for n in range(count)],
        timeout=60,
    )
    tally.seconds += time.perf_counter() - began
    tally.chats += count
    for name, used in meter.used().items():
        tally.cpu[name] = tally.cpu.get(name, 0.0) + used
    tally.stored += answers() - before


def bursts(count: int, spread: float, setup: Setup, user: dict[str, str]) -> list[Tally]:
    """Run ROUNDS bursts on each service in turn. One tally per service."""
    services = all_services(setup)
    tallies = [Tally() for _ in services]
    for _ in range(ROUNDS):
        for service, tally in zip(services, tallies, strict=True):
            burst(count, spread, service, setup, user, tally)
            gevent.sleep(0.5)  # let the work left over from this burst finish
    return tallies


def rows_of(scenario: str, setup: Setup, tallies: list[Tally], first: Target | None, cost: Target | None) -> list[Row]:
    ours, peer = tallies[0], tallies[1] if len(tallies) > 1 else None
    names = [list(service.pids) for service in all_services(setup)]
    rate = [Measure((tally.chats / tally.seconds,), "chats/s") for tally in tallies]
    return [
        row(
            scenario, "first text, p50 / p99", ms(ours.firsts), ms(peer.firsts) if peer else setup.no_peer, target=first
        ),
        row(scenario, "chats per second", rate[0], rate[1] if peer else "", better="higher"),
        row(scenario, "complete", *(f"{tally.complete} of {tally.chats}, {tally.stored} stored" for tally in tallies)),
        row(
            scenario,
            "CPU per chat (ours: edge / worker-agents)",
            ours.cost(names[0]),
            peer.cost(names[1]) if peer else "",
            target=cost,
        ),
        row(scenario, "CPU of the other processes, ms per chat", *(tally.others() for tally in tallies)),
    ]


def scaling_rows(few: list[Tally], many: list[Tally], setup: Setup) -> list[Row]:
    """The cost of a chat with 200 at once, divided by its cost with 100 at once."""

    def growth(metric: str) -> list[Measure]:
        measures = []
        for service, less, more in zip(all_services(setup), few, many, strict=True):
            if metric == "CPU":
                a, b = (sum(tally.cost(list(service.pids)).numbers) for tally in (less, more))
            else:
                a, b = (1000 * tally.seconds / tally.chats for tally in (less, more))
            measures.append(Measure((b / a,), "x", f"{format_number(b)} and {format_number(a)} ms"))
        return measures

    scenario, target = "200 chats at once compared with 100", Target("<=", (1.0,))
    return [row(scenario, f"{metric} per chat", *growth(metric), target=target) for metric in ("time", "CPU")]


def main() -> None:
    setup = Setup.from_arguments()
    user = sign_in(setup.url)
    for service in all_services(setup):  # warm up: open the services' connections
        burst(200, 0, service, setup, user, Tally())
    few = bursts(100, 0, setup, user)
    spread = bursts(100, SPREAD_SECONDS, setup, user)
    many = bursts(200, 0, setup, user)
    rows = rows_of("100 chats at once", setup, few, Target("<=", (150, 400)), None)
    rows += rows_of(f"100 chats over {SPREAD_SECONDS:g} s", setup, spread, None, Target("<=", (3, 6)))
    rows += rows_of("200 chats at once", setup, many, None, None)
    print_rows(rows + scaling_rows(few, many, setup))


if __name__ == "__main__":
    main()
