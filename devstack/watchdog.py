"""Kills our process groups when this process dies, however it dies.

The parent death signal of Linux reaches direct children only: a killed Dramatiq master would leave its workers running.
So a small shell process reads the groups from a pipe and kills the remaining ones when the pipe closes.
"""

import os
import subprocess
from typing import IO

# Reads "+ <group>" and "- <group>", one per line, until the pipe closes.
_SCRIPT = """
all=
while read -r op group; do
    if [ "$op" = + ]; then all="$all $group"; continue; fi
    rest=
    for one in $all; do [ "$one" = "$group" ] || rest="$rest $one"; done
    all=$rest
done
for group in $all; do kill -s KILL -- "-$group" 2>/dev/null; done
"""


class Watchdog:
    """The shell process starts with the first group."""

    def __init__(self) -> None:
        self.pipe: IO[str] | None = None
        self.groups: set[int] = set()
        os.register_at_fork(after_in_child=self._close_in_child)

    def watch(self, group: int) -> None:
        """Kill this process group when we die. Does nothing if the group is watched already."""
        if group not in self.groups:
            self.groups.add(group)
            self._send(f"+ {group}")

    def unwatch(self, group: int) -> None:
        """Stop watching a process group, because it has ended."""
        if group in self.groups:
            self.groups.remove(group)
            self._send(f"- {group}")

    def _send(self, line: str) -> None:
        if self.pipe is None:
            self.pipe = self._start()
        self.pipe.write(line + "\n")
        self.pipe.flush()

    def _start(self) -> IO[str]:
        process = subprocess.Popen(
            ["sh", "-c", _SCRIPT],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )
        if process.stdin is None:
            raise RuntimeError("The watchdog has no standard input.")
        return process.stdin

    def _close_in_child(self) -> None:
        """Close the pipe in a forked child, such as honcho's: the shell must see it close when the parent dies."""
        if self.pipe is not None:
            os.close(self.pipe.fileno())
            self.pipe = None
            self.groups.clear()


watchdog = Watchdog()
