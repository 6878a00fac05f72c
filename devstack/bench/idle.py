"""What it costs to do nothing."""

import time

from devstack.bench.launch import PROCESSES, pids_of
from devstack.bench.report import Asked, Measure, Row, row, shown
from devstack.bench.usage import Meter
from devstack.stack import Stack

SECONDS = 15


def measure(stack: Stack) -> list[Row]:
    pids, ours = pids_of(stack), PROCESSES
    time.sleep(5)
    meter = Meter(pids)
    time.sleep(SECONDS)
    share = {name: 100 * used / SECONDS for name, used in meter.used().items() if name in pids}
    parts = ", ".join(f"{name} {shown(share[name])}" for name in pids if name not in ours)
    each = ", ".join(f"{name} {shown(share[name])}" for name in ours)
    return [
        row("idle", "all, % of a core", Measure((sum(share.values()),), "%"), parts, asked=Asked("<=", (3,))),
        row("idle", "our processes alone", Measure((sum(share[name] for name in ours),), "%"), each),
    ]
