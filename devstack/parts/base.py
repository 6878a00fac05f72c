"""The base class of all embedded parts."""

import json
import signal
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from devstack.process import Process, free_port, port_is_free, wait_for

_KILL_TIMEOUT = 10  # seconds


class Part(ABC):
    """One embedded service. Its data is in `<state>/<name>`, its log in `<state>/logs`; both survive a restart.

    edge_url      where the edge will be, for parts that call it
    replaced_by   environment variables; if one of them is set, this part is not needed
    stop_signal   what `stop` sends
    """

    name: ClassVar[str]
    title: ClassVar[str]
    replaced_by: ClassVar[tuple[str, ...]]
    stop_signal: ClassVar[int] = signal.SIGTERM

    def __init__(self, state: Path, edge_url: str = "") -> None:
        self.edge_url = edge_url
        self.folder = state / self.name
        self.log = state / "logs" / f"{self.name}.log"
        self.process: Process | None = None

    @classmethod
    def is_wanted(cls, environ: Mapping[str, str]) -> bool:
        """Whether an installation with this environment needs the part."""
        return not any(map(environ.get, cls.replaced_by))

    def prepare(self) -> None:  # noqa: B027  most parts have nothing to prepare
        """Write what the program needs before it starts. Called before every start."""

    @abstractmethod
    def command(self) -> list[str]:
        """The program and its arguments."""

    def options(self) -> dict[str, Any]:
        """Further arguments of subprocess.Popen."""
        return {}

    @abstractmethod
    def ready(self) -> bool:
        """Whether the service answers."""

    @abstractmethod
    def env(self) -> dict[str, str]:
        """The environment variables through which the product finds this part."""

    def launch(self) -> None:
        """Start the program without waiting for it. Call it from the main thread: the child dies with its thread."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.prepare()
        self.process = Process(self.command(), self.log, **self.options())

    def wait_until_ready(self) -> None:
        """Wait until the service answers. SystemExit if the program exits, or after 60 seconds."""
        wait_for(self.ready, self.process, self.title)

    def start(self) -> None:
        """Start the program and wait until the service answers."""
        self.launch()
        self.wait_until_ready()

    def died(self) -> bool:
        """Whether the program exited without having been stopped."""
        return self.process is not None and self.process.poll() is not None

    def stop(self) -> None:
        """Stop the program; kill it after 30 seconds."""
        if self.process is not None:
            self.process.stop(self.stop_signal)
            self.process = None

    def kill(self) -> None:
        """Kill the program, as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(_KILL_TIMEOUT)
            self.process = None

    def restart(self) -> None:
        """Stop the program and start it again, at the same address."""
        self.stop()
        self.start()

    def port(self, name: str = "port") -> int:
        """A TCP port of this part. It is stored with the data, so that a restart uses the same one if it is free."""
        file = self.folder / "ports.json"
        ports: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}
        if name not in ports or (self.process is None and not port_is_free(ports[name])):
            ports[name] = free_port()
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(ports))
        return ports[name]
