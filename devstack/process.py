"""Child processes that never outlive us."""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


# Reads "+ group" and "- group" until we are gone, whichever way, and ends the groups that are left. The death signal
# above reaches children only: a killed Dramatiq master leaves its workers behind.
_WATCH = """
all=
while read -r op group; do
    if [ "$op" = + ]; then all="$all $group"; continue; fi
    rest=
    for one in $all; do [ "$one" = "$group" ] || rest="$rest $one"; done
    all=$rest
done
for group in $all; do kill -s KILL -- "-$group" 2>/dev/null; done
"""
_watch: subprocess.Popen[str] | None = None
_guarded: set[int] = set()


def guard(group: int) -> None:
    """End this process group when we die."""
    if group not in _guarded:
        _guarded.add(group)
        _tell(f"+ {group}")


def unguard(group: int) -> None:
    if group in _guarded:
        _guarded.remove(group)
        _tell(f"- {group}")


def _tell(line: str) -> None:
    global _watch  # noqa: PLW0603  one per process
    if _watch is None:
        _watch = subprocess.Popen(
            ["sh", "-c", _WATCH],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )
    if _watch.stdin is not None:
        _watch.stdin.write(line + "\n")
        _watch.stdin.flush()


def _forget_watch() -> None:
    """In a forked child (honcho's): it must not keep the pipe open when we are gone."""
    global _watch  # noqa: PLW0603  one per process
    if _watch is not None and _watch.stdin is not None:
        os.close(_watch.stdin.fileno())
        _watch = None
        _guarded.clear()


os.register_at_fork(after_in_child=_forget_watch)


class Process(subprocess.Popen[bytes]):
    """A command in a process group of its own, its output in a file."""

    name = ""  # of its line in the Procfile

    def __init__(self, command: list[str] | str, log: Path, **options: Any):
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
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
        guard(self.pid)

    def worker_pids(self) -> list[int]:
        """The children: gunicorn's or Dramatiq's worker processes."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return [child.pid for child in psutil.Process(self.pid).children(recursive=True)]
        return []

    def kill(self) -> None:
        """SIGKILL to the whole group: what a power cut would do."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def stop(self, number: int = signal.SIGTERM, grace: float = 30) -> None:
        """Ask for an end, and insist after `grace` seconds."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.wait(grace)
        self.kill()
        self.wait(10)
        unguard(self.pid)

    def tail(self, lines: int = 15) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def responds(url: str) -> bool:
    """Whether a GET is answered with 200."""
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:  # noqa: S310  the URLs are our own
            return bool(answer.status == 200)
    except OSError:
        return False


def wait_for(ready: Callable[[], bool], process: Process | None, what: str, seconds: float = 60) -> None:
    """Until `ready()`; SystemExit with the process's last words when it ends or takes too long."""
    end = time.monotonic() + seconds
    while not ready():
        if process is not None and process.poll() is not None:
            raise SystemExit(f"{what} ended with code {process.returncode}:\n{process.tail()}")
        if time.monotonic() > end:
            raise SystemExit(f"{what} was not ready within {seconds:g} s.\n{process.tail() if process else ''}")
        time.sleep(0.03)
