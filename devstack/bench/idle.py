"""What it costs to do nothing."""

import time

from devstack.bench.launch import PROCESSES
from devstack.bench.report import Asked, Measure, Row, row, shown
from devstack.bench.tools import PEER, Facts
from devstack.bench.usage import Meter

SECONDS = 15
PEERS = {"peer": PEER, "dramatiq": "stock Dramatiq", "beat": "Celery beat"}


def measure(facts: Facts) -> list[Row]:
    time.sleep(5)
    meter = Meter(facts.pids)
    time.sleep(SECONDS)
    share = {name: 100 * used / SECONDS for name, used in meter.used().items()}
    peers = {title: share[name] for name, title in PEERS.items() if name in share}
    ours = {name: share[name] for name in PROCESSES}
    parts = {name: share[name] for name in facts.pids if name not in ours and name not in PEERS}
    asked = Asked("<=", (3,))
    return [
        row("idle", "our processes, % of a core", summed(ours), summed(peers)),
        row("idle", "with the parts that all share, % of a core", summed(ours | parts, parts), asked=asked),
    ]


def summed(shares: dict[str, float], told: dict[str, float] | None = None) -> Measure:
    """The sum, and what it is made of."""
    details = ", ".join(f"{name} {shown(share)}" for name, share in (told or shares).items())
    return Measure((sum(shares.values()),), "%", details)
