"""CPU usage of idle processes."""

import time

from devstack.bench.launch import PROCESSES
from devstack.bench.report import Measure, Row, Target, format_number, row
from devstack.bench.tools import PEER, Setup
from devstack.bench.usage import Meter

SECONDS = 15
PEERS = {"peer": PEER, "dramatiq": "stock Dramatiq", "beat": "Celery beat"}


def measure(setup: Setup) -> list[Row]:
    time.sleep(5)
    meter = Meter(setup.pids)
    time.sleep(SECONDS)
    share = {name: 100 * used / SECONDS for name, used in meter.used().items()}
    peers = {title: share[name] for name, title in PEERS.items() if name in share}
    ours = {name: share[name] for name in PROCESSES}
    parts = {name: share[name] for name in setup.pids if name not in ours and name not in PEERS}
    target = Target("<=", (3,))
    return [
        row("idle", "the service's processes, % of a core", total(ours), total(peers)),
        row("idle", "with the servers that both use, % of a core", total(ours | parts, parts), target=target),
    ]


def total(shares: dict[str, float], listed: dict[str, float] | None = None) -> Measure:
    """The sum, with its parts as a note: all of them, or only those `listed`."""
    details = ", ".join(f"{name} {format_number(share)}" for name, share in (listed or shares).items())
    return Measure((sum(shares.values()),), "%", details)
