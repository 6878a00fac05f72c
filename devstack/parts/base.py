"""What all parts have in common."""

import json
import signal
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from devstack.process import Process, free_port, port_is_free, wait_for


class Part(ABC):
    name = ""
    title = ""
    replaced_by: tuple[str, ...] = ()  # environment names that make this part unnecessary
    stop_signal = signal.SIGTERM

    def __init__(self, state: Path):
        self.folder = state / self.name
        self.log = state / "logs" / f"{self.name}.log"
        self.process: Process | None = None

    def prepare(self) -> None:  # noqa: B027  most parts have nothing to prepare
        """What is done once, before the first start."""

    @abstractmethod
    def command(self) -> list[str]:
        """The program and its arguments."""

    def options(self) -> dict[str, Any]:
        """Further arguments of the child process."""
        return {}

    @abstractmethod
    def ready(self) -> bool:
        """Whether it answers."""

    @abstractmethod
    def env(self) -> dict[str, str]:
        """What the product's processes are told of this part."""

    def launch(self) -> None:
        """Begin to start. From the main thread: a child dies with the thread that made it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.prepare()
        self.process = Process(self.command(), self.log, **self.options())

    def settle(self) -> None:
        """Wait until it answers."""
        wait_for(self.ready, self.process, self.title)

    def start(self) -> None:
        self.launch()
        self.settle()

    def died(self) -> bool:
        """It was started, not stopped, and has ended."""
        return self.process is not None and self.process.poll() is not None

    def stop(self) -> None:
        if self.process is not None:
            self.process.stop(self.stop_signal)
            self.process = None

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def port(self, name: str = "port") -> int:
        """A free port, remembered with the state so that a restart keeps it."""
        memory = self.folder / "ports.json"
        ports = json.loads(memory.read_text()) if memory.exists() else {}
        if name not in ports or (self.process is None and not port_is_free(ports[name])):
            ports[name] = free_port()
            memory.parent.mkdir(parents=True, exist_ok=True)
            memory.write_text(json.dumps(ports))
        return int(ports[name])
