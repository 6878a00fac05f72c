"""Many open streams on one process, ours and the peer's in turn."""

from gevent import monkey

monkey.patch_all()

import random  # noqa: E402
import time  # noqa: E402
from dataclasses import dataclass  # noqa: E402

import gevent  # noqa: E402

from devstack.bench.report import Asked, Measure, Row, ms, quantile, row, shown  # noqa: E402
from devstack.bench.stream_clients import RATE, SECONDS, Probe, make_runs, opened, write  # noqa: E402
from devstack.bench.tools import Facts, Target, sign_in, targets, tell  # noqa: E402
from devstack.bench.usage import Meter, resident  # noqa: E402

STREAMS, FALL_BACK = 1000, (500, 250, 100)  # the peer may not hold as many
SILENT = 5000
OTHERS = {"client": "load client", "valkey": "Valkey"}
BEHIND_SECONDS = 1  # who delivers later than that in the middle does not hold its streams


@dataclass
class Result:
    """What became of `count` streams."""

    count: int
    whole: int
    waits: list[float]
    health: list[float]
    cpu: dict[str, float]  # seconds

    @property
    def held(self) -> bool:
        return self.whole == self.count and quantile(self.waits, 0.5) < BEHIND_SECONDS

    def cost(self, name: str) -> Measure:
        return Measure((1000 * self.cpu[name] / max(1, len(self.waits)),), "ms")

    def others(self) -> str:
        return ", ".join(f"{title} {shown(self.cost(name).numbers[0])}" for name, title in OTHERS.items())


def busy(target: Target, facts: Facts, who: dict[str, str], count: int, at_once: bool) -> Result:
    """`count` readers of as many runs, whose events come RATE a second."""
    run_ids = make_runs(count, who)
    readers = opened(run_ids, target.url, who)
    reading = [gevent.spawn(reader.read) for reader in readers]
    gevent.sleep(1)
    probe, meter = Probe(target.url), Meter({"server": target.pid, "valkey": facts.pids["valkey"]})
    write(run_ids, at_once)
    gevent.joinall(reading, timeout=20)
    used = meter.used()
    gevent.killall(reading)
    health = probe.stop()
    for reader in readers:
        reader.sock.close()
    whole = sum(reader.ended and reader.numbers == list(range(RATE * SECONDS)) for reader in readers)
    return Result(count, whole, [wait for reader in readers for wait in reader.waits], health, used)


def held_by_peer(target: Target, facts: Facts, who: dict[str, str], at_once: bool) -> tuple[Result, str]:
    """As many streams as we hold, or as many as the peer can; a note when these are fewer."""
    results = [busy(target, facts, who, STREAMS, at_once)]
    for count in FALL_BACK:
        if results[-1].held:
            break
        gevent.sleep(5)
        results.append(busy(target, facts, who, count, at_once))
    first, last = results[0], results[-1]
    late = f"{quantile(first.waits, 0.5):.1f} s late" if first.waits else "silent"
    return last, "" if first is last else f"{last.count} streams; with {STREAMS} it was {late}"


def compared(facts: Facts, who: dict[str, str], at_once: bool) -> list[Row]:
    ours, *peers = targets(facts)
    here = busy(ours, facts, who, STREAMS, at_once)
    peer, fewer = held_by_peer(peers[0], facts, who, at_once) if peers else (None, "")
    what = f"{STREAMS} streams x {RATE}/s" + (", all in the same instant" if at_once else "")
    delivery, health = (None, None) if at_once else (Asked("<=", (100,)), Asked("<=", (50,)))
    found = [here, peer] if peer else [here]

    def told(name: str, waits: list[list[float]], part: float, asked: Asked | None = None) -> Row:
        peers = [ms(waits[1], part, note=fewer)] if len(waits) > 1 else [facts.no_peer]
        return row(what, name, ms(waits[0], part), *peers, asked=asked)

    return [
        row(what, "complete and in order", *(f"{one.whole} of {one.count}" for one in found)),
        told("delivery p50", [one.waits for one in found], 0.5),
        told("delivery p99", [one.waits for one in found], 0.99, delivery),
        told("/health meanwhile p50", [one.health for one in found], 0.5),
        told("/health meanwhile p99", [one.health for one in found], 0.99, health),
        row(what, "CPU of the server per event", *(one.cost("server") for one in found)),
        row(what, "who else used the cores, ms per event", *(one.others() for one in found)),
    ]


def silent(target: Target, who: dict[str, str], count: int) -> tuple[Measure, Measure, str]:
    """Memory a stream, CPU share, and how many of 20 woken streams were served."""
    run_ids, before = make_runs(count, who), resident(target.pid)[0]
    readers = opened(run_ids, target.url, who)
    gevent.sleep(5)
    grown = resident(target.pid)[0] - before
    meter, began = Meter({"server": target.pid}), time.perf_counter()
    gevent.sleep(15)  # a whole round of comments
    share = 100 * meter.used()["server"] / (time.perf_counter() - began)
    sample = random.sample(range(count), 20)
    reading = [gevent.spawn(readers[n].read) for n in sample]
    write([run_ids[n] for n in sample], True)
    gevent.joinall(reading, timeout=5)
    gevent.killall(reading)
    for reader in readers:
        reader.sock.close()
    answered = sum(readers[n].ended for n in sample)
    return Measure((1024 * grown / count,), "KB"), Measure((share,), "%"), f"{answered} of 20"


def quiet(facts: Facts, who: dict[str, str]) -> list[Row]:
    """Before all others: what is freed later would be taken again and not counted."""
    found = [silent(target, who, SILENT) for target in targets(facts)]
    memory, share, woken = zip(*found, strict=True)
    what, missing = f"{SILENT} silent streams", [] if len(found) > 1 else [facts.no_peer]
    return [
        row(what, "memory of the server per stream", *memory, *missing, asked=Asked("<=", (40,))),
        row(what, "CPU of the server, % of a core", *share, *missing),
        row(what, "complete after being woken", *woken, *missing),
    ]


def main() -> None:
    facts = Facts.given()
    who = sign_in(facts.url)
    tell(quiet(facts, who) + compared(facts, who, False) + compared(facts, who, True))


if __name__ == "__main__":
    main()
