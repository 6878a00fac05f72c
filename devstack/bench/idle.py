"""What it costs to do nothing."""

import time

import psutil

from devstack.bench.tools import cpu, row

SECONDS = 15


def measure(stack) -> list[dict]:
    groups = {process.name: process.pid for process in stack.processes}
    groups |= {name: part.process.pid for name, part in stack.parts.items()}
    time.sleep(5)
    pids = {
        name: [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
        for name, pid in groups.items()
    }
    before = {name: cpu(some) for name, some in pids.items()}
    time.sleep(SECONDS)
    used = {name: (cpu(some) - before[name]) / SECONDS * 100 for name, some in pids.items()}
    ours = [process.name for process in stack.processes]
    detail = ", ".join(f"{name} {share:.1f}" for name, share in used.items())
    return [
        row("idle", "all processes, % of one core", f"{sum(used.values()):.1f}", "", "<= 3"),
        row("idle", "ours alone", f"{sum(used[name] for name in ours):.1f}", detail),
    ]
