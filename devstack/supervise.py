"""Run all processes under honcho with one log. Honcho stops everything when one process exits; we restart that one."""

import contextlib
import multiprocessing
import os
import signal
import sys
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping

import psutil
from honcho import manager
from honcho.compat import ProcessManager
from honcho.manager import Manager
from honcho.printer import Printer

from devstack.watchdog import watchdog

manager.KILL_WAIT = 30  # seconds between SIGTERM and SIGKILL: workers finish or hand back their jobs
MAX_EXITS, WINDOW = 5, 30.0  # a process that exits this often within this many seconds is not restarted
RESTART_DELAY = 1.0  # seconds


class MasterOnly(ProcessManager):  # type: ignore[misc]  # honcho has no types
    """Sends SIGTERM to the process, not to its group.

    Dramatiq and gunicorn pass it on to their children, and a second SIGTERM would make them stop at once.
    """

    def terminate(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


class Supervisor(Manager):  # type: ignore[misc]
    """Honcho's Manager, except that a process that exits unexpectedly is restarted after a second.

    `on_tick` is called about ten times a second, from the main thread.
    """

    def __init__(self, on_tick: Callable[[], None]) -> None:
        super().__init__(Printer(sys.stdout))
        self._procmgr = MasterOnly()
        self.returncode: int | None = None
        self.on_tick = on_tick
        self.exits: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=MAX_EXITS))
        self.restart_at: dict[str, float] = {}

    def _any_stopped(self) -> bool:
        # Honcho's loop asks ten times a second whether it should stop everything.
        if self._terminating:
            return bool(super()._any_stopped())
        self.on_tick()
        for name, process in self._processes.items():
            if process.get("returncode") is not None and name not in self.restart_at:
                self._plan_restart(name)
        for name, moment in list(self.restart_at.items()):
            if time.monotonic() >= moment:
                del self.restart_at[name]
                self._restart(name)
        return False

    def _all_stopped(self) -> bool:
        # Honcho's loop calls this on every turn, while the processes run and while they stop.
        for process in self._processes.values():
            if process.get("pid") and process.get("returncode") is None:
                watchdog.watch(process["pid"])
                _kill_orphans(process["pid"])
        return self._terminating and bool(super()._all_stopped())

    def _plan_restart(self, name: str) -> None:
        exits = self.exits[name]
        exits.append(time.monotonic())
        if len(exits) == MAX_EXITS and exits[-1] - exits[0] < WINDOW:
            self._system_print(f"{name} exited {MAX_EXITS} times within {WINDOW:g} s; stopping everything\n")
            self.returncode = 1
            self.terminate()
        else:
            self._system_print(f"{name} exited unexpectedly; restarting it\n")
            self.restart_at[name] = time.monotonic() + RESTART_DELAY

    def _restart(self, name: str) -> None:
        self.returncode = None
        command = self._processes[name]["obj"]
        process = multiprocessing.Process(name=name, target=command.run, args=(self.events, True))
        self._processes[name] = {"obj": command, "process": process}
        process.start()

    def _all_started(self) -> bool:
        return self._terminating or bool(super()._all_started())


def _kill_orphans(pid: int) -> None:
    """Kill the group of a dead process. Its workers would keep the log pipe open, and honcho would not see it exit."""
    with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
        if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            os.killpg(pid, signal.SIGKILL)


def run_all(
    commands: Mapping[str, str], env_of: Callable[[str], Mapping[str, str]], cwd: str, on_tick: Callable[[], None]
) -> int:
    """Run {name: command}, each in the environment `env_of(name)`, until SIGINT or SIGTERM. Returns the exit status: 0 after one of these signals."""
    supervisor = Supervisor(on_tick)
    for name, command in commands.items():
        supervisor.add_process(name, f"exec {command}", env=dict(env_of(name)), cwd=cwd)
    supervisor.loop()
    status = int(supervisor.returncode or 0)
    return 0 if status in (128 + signal.SIGINT, 128 + signal.SIGTERM) else status
