"""All processes under honcho with one log. Honcho stops everything when one process ends; we start that one again."""

import contextlib
import multiprocessing
import os
import signal
import sys
import time
from collections import defaultdict, deque
from collections.abc import Callable

from honcho import manager
from honcho.compat import ProcessManager
from honcho.manager import Manager
from honcho.printer import Printer

from devstack.process import guard

manager.KILL_WAIT = 30  # seconds: a worker may finish or hand back what it runs
RESTARTS, WITHIN = 5, 30.0  # one that dies so often within so many seconds is beyond help


class Gentle(ProcessManager):  # type: ignore[misc]  # honcho has no types
    """Asks the process itself, not its whole group: Dramatiq and gunicorn tell their children, and twice means at once."""

    def terminate(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


class Supervisor(Manager):  # type: ignore[misc]  # honcho has no types
    """honcho's Manager, except that a process that dies unexpectedly is started again after a second."""

    def __init__(self, on_tick: Callable[[], None]):
        super().__init__(Printer(sys.stdout))
        self._procmgr = Gentle()
        self.on_tick = on_tick
        self.deaths: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=RESTARTS))
        self.due: dict[str, float] = {}

    def _any_stopped(self) -> bool:
        # Asked by honcho's loop ten times a second: whether it should end everything.
        if self._terminating:
            return bool(super()._any_stopped())
        self.on_tick()
        for state in self._processes.values():
            if state.get("pid"):
                guard(state["pid"])
        for name, state in self._processes.items():
            if state.get("returncode") is not None and name not in self.due:
                self._bury(name)
        for name, moment in list(self.due.items()):
            if time.monotonic() >= moment:
                del self.due[name]
                self._start_again(name)
        return False

    def _all_stopped(self) -> bool:
        return bool(self._terminating and super()._all_stopped())

    def _bury(self, name: str) -> None:
        deaths = self.deaths[name]
        deaths.append(time.monotonic())
        if len(deaths) == RESTARTS and deaths[-1] - deaths[0] < WITHIN:
            self._system_print(f"{name} died {RESTARTS} times within {WITHIN:g} s; stopping everything\n")
            self.returncode = 1
            self.terminate()
        else:
            self._system_print(f"{name} died unexpectedly; starting it again\n")
            self.due[name] = time.monotonic() + 1

    def _start_again(self, name: str) -> None:
        self.returncode = None  # type: ignore[assignment]  # none of its processes has ended
        state = self._processes[name]
        self._processes[name] = {"obj": state["obj"]}
        process = multiprocessing.Process(name=name, target=state["obj"].run, args=(self.events, True))
        self._processes[name]["process"] = process
        process.start()

    def _all_started(self) -> bool:
        return bool(self._terminating or super()._all_started())


def hold(events: dict[str, str], env: dict[str, str], cwd: str, on_tick: Callable[[], None]) -> int:
    """Run the commands until SIGINT or SIGTERM. 0 when we were asked to stop."""
    supervisor = Supervisor(on_tick)
    for name, command in events.items():
        supervisor.add_process(name, f"exec {command}", env=env, cwd=cwd)
    supervisor.loop()
    asked = (128 + signal.SIGINT, 128 + signal.SIGTERM)
    return 0 if supervisor.returncode in asked else supervisor.returncode or 0
