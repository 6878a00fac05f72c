"""CPU and memory of process trees."""

import contextlib
import os
import time
from collections.abc import Mapping

import psutil

MB = 1024 * 1024


def cpu(pid: int) -> float:
    """CPU seconds used by a process and its children, including children that have ended."""
    return sum(_own(process) for process in tree(pid))


def tree(pid: int) -> list[psutil.Process]:
    """The process and its descendants."""
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    return []


def _own(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return float(times.user + times.system + times.children_user + times.children_system)
    return 0.0


def resident(pid: int) -> tuple[float, float]:
    """Resident megabytes of the largest process of the tree, which does the work, and of its helpers, such as a master."""
    sizes = []
    for process in tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            sizes.append(process.memory_info().rss / MB)
    return max(sizes, default=0.0), sum(sizes) - max(sizes, default=0.0)


class Machine:
    """CPU used by other processes during a measurement."""

    def __init__(self) -> None:
        self.began, self.before = time.perf_counter(), self._others()

    def _others(self) -> float:
        times = psutil.cpu_times()
        busy = times.user + times.nice + times.system + getattr(times, "steal", 0.0)
        return float(busy) - cpu(os.getpid())

    def used_by_others(self) -> float:
        """Percent of all cores used by other processes or by other guests of the host."""
        cores = (psutil.cpu_count() or 1) * (time.perf_counter() - self.began)
        return min(100.0, max(0.0, 100 * (self._others() - self.before) / cores))


class Meter:
    """CPU seconds used by some processes since the meter was created. `client` is the calling process."""

    def __init__(self, pids: Mapping[str, int]):
        self.pids = dict(pids)
        self.before = self._now()

    def _now(self) -> dict[str, float]:
        return {"client": time.process_time()} | {name: cpu(pid) for name, pid in self.pids.items()}

    def used(self) -> dict[str, float]:
        now = self._now()
        return {name: now[name] - before for name, before in self.before.items()}
