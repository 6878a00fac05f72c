"""Many chats at once, 20 deltas 20 ms apart, on one edge and one worker-agents process; then on the peer's one process."""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import os  # noqa: E402
import time  # noqa: E402
from dataclasses import dataclass, field  # noqa: E402

import gevent  # noqa: E402
import psycopg2  # noqa: E402

from devstack.bench.report import Asked, Measure, Row, ms, row, shown  # noqa: E402
from devstack.bench.tools import Facts, Target, connect, request, sign_in, targets, tell  # noqa: E402
from devstack.bench.usage import Meter  # noqa: E402

DELTAS, ROUNDS, SPREAD_SECONDS = 20, 3, 2.5
BODY = json.dumps({"message": f"[[deltas={DELTAS} delay=20ms]] Tell me"}).encode()
OTHERS = {"client": "load client", "openai": "model stand-in", "postgres": "Postgres", "valkey": "Valkey"}


@dataclass
class Tally:
    """What became of the bursts on one service."""

    firsts: list[float] = field(default_factory=list)
    chats: int = 0
    whole: int = 0
    stored: int = 0
    seconds: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)

    def cost(self, names: list[str]) -> Measure:
        return Measure(tuple(1000 * self.cpu[name] / self.chats for name in names), "ms")

    def others(self) -> str:
        costs = ((title, 1000 * self.cpu[name] / self.chats) for name, title in OTHERS.items() if name in self.cpu)
        return ", ".join(f"{title} {shown(cost)}" for title, cost in costs)


def chat(url: str, who: dict[str, str], tally: Tally) -> None:
    began, first, seen = time.perf_counter(), 0.0, b""
    sock = connect(url)
    sock.sendall(request("POST", "/api/v1/chat/stream", who, BODY))
    while b'"is_terminal":true' not in seen[-4000:]:
        part = sock.recv(65536)
        seen += part
        if not part or not seen.startswith(b"HTTP/1.1 200"[: len(seen)]):
            break
        if not first and b'"text_delta":"' in seen:
            first = time.perf_counter() - began
            tally.firsts.append(first)
    sock.close()
    tally.whole += seen.count(b'"text_delta":"') == DELTAS and b'"kind":"error"' not in seen


def answers() -> int:
    """How many answers Postgres holds."""
    connection = psycopg2.connect(os.environ["DATABASE_URL"])
    cursor = connection.cursor()
    cursor.execute("select count(*) from message where role = 'assistant'")
    (count,) = cursor.fetchone() or (0,)
    connection.close()
    return int(count)


def burst(count: int, spread: float, target: Target, facts: Facts, who: dict[str, str], tally: Tally) -> None:
    parts = {name: facts.pids[name] for name in OTHERS if name in facts.pids}
    before, meter, began = answers(), Meter(target.pids | parts), time.perf_counter()
    gevent.joinall(
        [gevent.spawn_later(n * spread / count, chat, target.url, who, tally) for n in range(count)], timeout=60
    )
    tally.seconds += time.perf_counter() - began
    tally.chats += count
    for name, used in meter.used().items():
        tally.cpu[name] = tally.cpu.get(name, 0.0) + used
    tally.stored += answers() - before


def bursts(count: int, spread: float, facts: Facts, who: dict[str, str]) -> list[Tally]:
    """One tally per service, of several bursts in turn."""
    found = targets(facts)
    tallies = [Tally() for _ in found]
    for _ in range(ROUNDS):
        for target, tally in zip(found, tallies, strict=True):
            burst(count, spread, target, facts, who, tally)
            gevent.sleep(0.5)  # what the burst leaves behind is not the next one's
    return tallies


def rows_of(what: str, facts: Facts, tallies: list[Tally], first: Asked | None, cost: Asked | None) -> list[Row]:
    here, peer = tallies[0], tallies[1] if len(tallies) > 1 else None
    names = [list(target.pids) for target in targets(facts)]
    rate = [Measure((tally.chats / tally.seconds,), "chats/s") for tally in tallies]
    return [
        row(what, "first text p50 / p99", ms(here.firsts), ms(peer.firsts) if peer else facts.no_peer, asked=first),
        row(what, "chats a second", rate[0], rate[1] if peer else "", better="higher"),
        row(
            what, "complete, of these stored", *(f"{tally.whole} of {tally.chats}, {tally.stored}" for tally in tallies)
        ),
        row(
            what,
            "CPU per chat: edge / worker-agents; peer's one process",
            here.cost(names[0]),
            peer.cost(names[1]) if peer else "",
            asked=cost,
        ),
        row(what, "who else used the cores, ms per chat", *(tally.others() for tally in tallies)),
    ]


def doubled(few: list[Tally], many: list[Tally], facts: Facts) -> list[Row]:
    """What a chat costs among 200, as a multiple of what it costs among 100."""

    def growth(figure: str) -> list[Measure]:
        found = []
        for target, less, more in zip(targets(facts), few, many, strict=True):
            if figure == "CPU":
                a, b = (sum(tally.cost(list(target.pids)).numbers) for tally in (less, more))
            else:
                a, b = (1000 * tally.seconds / tally.chats for tally in (less, more))
            found.append(Measure((b / a,), "times", f"{shown(b)} to {shown(a)} ms"))
        return found

    what, asked = "200 at once to 100 at once", Asked("<=", (1.0,))
    return [row(what, f"{figure} per chat", *growth(figure), asked=asked) for figure in ("time", "CPU")]


def main() -> None:
    facts = Facts.given()
    who = sign_in(facts.url)
    for target in targets(facts):  # services that have been running: their connections are open
        burst(200, 0, target, facts, who, Tally())
    few = bursts(100, 0, facts, who)
    spread = bursts(100, SPREAD_SECONDS, facts, who)
    many = bursts(200, 0, facts, who)
    rows = rows_of("100 chats at once", facts, few, Asked("<=", (150, 400)), None)
    rows += rows_of(f"100 chats over {SPREAD_SECONDS:g} s", facts, spread, None, Asked("<=", (3, 6)))
    rows += rows_of("200 chats at once", facts, many, None, None)
    tell(rows + doubled(few, many, facts))


if __name__ == "__main__":
    main()
