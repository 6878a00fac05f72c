"""Many open streams on one process, ours and the peer's in turn."""

from gevent import monkey

monkey.patch_all()

import random  # noqa: E402
from dataclasses import dataclass  # noqa: E402

import gevent  # noqa: E402

from devstack.bench.report import Asked, Measure, Row, ms, row  # noqa: E402
from devstack.bench.stream_clients import RATE, SECONDS, Reader, make_runs, probe, write  # noqa: E402
from devstack.bench.tools import PEER, Facts, Target, sign_in, targets, tell  # noqa: E402
from devstack.bench.usage import Meter, resident  # noqa: E402

STREAMS, FALL_BACK = 1000, (500, 250, 100)  # the peer may not hold as many
SILENT, SILENT_PEER = 5000, 1000  # told per stream, so the peer's may be fewer


@dataclass
class Result:
    """What became of `count` streams."""

    count: int
    whole: int
    waits: list[float]
    health: list[float]
    cpu: float  # seconds

    def share(self) -> Measure:
        return Measure((100 * self.cpu / SECONDS,), "%")


def busy(target: Target, who: dict[str, str], count: int, at_once: bool) -> Result:
    """`count` readers of as many runs, whose events come RATE a second."""
    run_ids = make_runs(count, who)
    readers = [Reader(run_id, target.url, who) for run_id in run_ids]
    reading = [gevent.spawn(reader.read) for reader in readers]
    gevent.sleep(3)
    health: list[float] = []
    prober, meter = gevent.spawn(probe, target.url, health), Meter({"server": target.pid})
    write(run_ids, at_once)
    gevent.joinall(reading, timeout=20)
    prober.kill()
    used = meter.used()["server"]
    gevent.killall(reading)
    for reader in readers:
        reader.sock.close()
    whole = sum(reader.ended and reader.numbers == list(range(RATE * SECONDS)) for reader in readers)
    return Result(count, whole, [wait for reader in readers for wait in reader.waits], health, used)


def held_by_peer(target: Target, who: dict[str, str], at_once: bool) -> Result:
    """As many streams as we hold, or as many as the peer can: all of them complete."""
    result = busy(target, who, STREAMS, at_once)
    for count in FALL_BACK:
        if result.whole == result.count:
            break
        gevent.sleep(5)
        result = busy(target, who, count, at_once)
    return result


def compared(facts: Facts, who: dict[str, str], at_once: bool) -> list[Row]:
    ours, *peers = targets(facts)
    here = busy(ours, who, STREAMS, at_once)
    peer = held_by_peer(peers[0], who, at_once) if peers else None
    what = f"{STREAMS} streams x {RATE}/s" + (", all in the same instant" if at_once else "")
    fewer = f"with {peer.count} streams, it lost events of more" if peer and peer.count < STREAMS else ""
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
        row(what, "CPU of the server, % of a core", *(one.share() for one in found)),
    ]


def silent(target: Target, who: dict[str, str], count: int) -> tuple[Measure, Measure, str]:
    """Memory a stream, CPU share, and how many of 20 woken streams were served."""
    run_ids = make_runs(count, who)
    before, readers = resident(target.pid)[0], []
    for run_id in run_ids:
        readers.append(Reader(run_id, target.url, who))
        if len(readers) % 100 == 0:
            gevent.sleep(0.2)
    gevent.sleep(5)
    grown = resident(target.pid)[0] - before
    meter, span = Meter({"server": target.pid}), 6
    gevent.sleep(span)
    share = 100 * meter.used()["server"] / span
    chosen = random.sample(range(count), 20)
    reading = [gevent.spawn(readers[n].read) for n in chosen]
    write([run_ids[n] for n in chosen], True)
    gevent.joinall(reading, timeout=5)
    gevent.killall(reading)
    for reader in readers:
        reader.sock.close()
    note, answered = f"{count} streams", sum(readers[n].ended for n in chosen)
    return Measure((1024 * grown / count,), "KB", note), Measure((share,), "%", note), f"{answered} of 20"


def main() -> None:
    facts = Facts.given()
    who = sign_in(facts.url)
    rows = compared(facts, who, False) + compared(facts, who, True)
    found = [silent(target, who, SILENT_PEER if target.name == PEER else SILENT) for target in targets(facts)]
    names = ("memory per stream", "CPU of the server, % of a core", "complete after being woken")
    for name, values in zip(names, zip(*found, strict=True), strict=True):
        rows.append(row("silent streams", name, *values))
    tell(rows)


if __name__ == "__main__":
    main()
