"""Child processes that never outlive their parent, and ways to wait for them."""

import contextlib
import ctypes
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from devstack.watchdog import watchdog

PORTS = range(16_000, 32_000)
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1
_KILL_TIMEOUT = 10  # seconds


def _die_with_parent() -> None:
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Process(subprocess.Popen[bytes]):
    """A command in its own process group, with its output appended to a log file.

    command   the program and its arguments, or a line for the shell
    log       the file for stdout and stderr; its folder is created
    name      what the process is called in messages (default: the log's name without its suffix)
    options   further arguments of subprocess.Popen
    """

    def __init__(self, command: list[str] | str, log: Path, *, name: str = "", **options: Any) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        self.name = name or log.stem
        with log.open("ab") as output:
            super().__init__(
                command,
                shell=isinstance(command, str),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent,
                **options,
            )
        watchdog.watch(self.pid)

    def kill(self) -> None:
        """Send SIGKILL to the whole process group, as a power cut would end it."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def stop(self, number: int = signal.SIGTERM, grace: float = 30) -> None:
        """Send signal `number`, wait up to `grace` seconds, then kill what is left of the group."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.wait(grace)
        self.kill()
        self.wait(_KILL_TIMEOUT)
        watchdog.unwatch(self.pid)

    def tail(self, lines: int = 15) -> str:
        """The last lines of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nothing listens on at the moment.

    It is below those that systems give to outgoing connections: a program that takes seconds to start would find one of
    them in its place.
    """
    while True:
        port = PORTS.start + secrets.randbelow(len(PORTS))
        if port_is_free(port):
            return port


def port_is_free(port: int) -> bool:
    """Whether we could listen on this TCP port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def accepts_connections(port: int) -> bool:
    """Whether something accepts TCP connections on this port of 127.0.0.1."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def responds(url: str) -> bool:
    """Whether a GET request returns 200 within a second."""
    try:
        with urllib.request.urlopen(url, timeout=1) as response:  # noqa: S310  (the URLs are our own)
            return bool(response.status == 200)
    except OSError:
        return False


def wait_for(ready: Callable[[], bool], process: Process | None, name: str, seconds: float = 60) -> None:
    """Poll `ready` until it returns True.

    SystemExit with the end of the log if `process` exits first, or if `seconds` pass. `name` is used in the message.
    """
    end = time.monotonic() + seconds
    while not ready():
        if process is not None and process.poll() is not None:
            raise SystemExit(f"{name} exited with status {process.returncode}:\n{process.tail()}")
        if time.monotonic() > end:
            raise SystemExit(f"{name} was not ready within {seconds:g} s.\n{process.tail() if process else ''}")
        time.sleep(0.03)
