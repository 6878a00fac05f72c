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
_pipe: IO[str] | None = None
_groups: set[int] = set()


def watch(group: int) -> None:
    """Kill this process group when we die. Does nothing if the group is watched already."""
    if group not in _groups:
        _groups.add(group)
        _send(f"+ {group}")


def unwatch(group: int) -> None:
    """Stop watching a process group, because it has ended."""
    if group in _groups:
        _groups.remove(group)
        _send(f"- {group}")


def _send(line: str) -> None:
    global _pipe
    if _pipe is None:
        _pipe = _start()
    _pipe.write(line + "\n")
    _pipe.flush()


def _start() -> IO[str]:
    process = subprocess.Popen(
        ["sh", "-c", _SCRIPT],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        text=True,
    )
    assert process.stdin is not None
    return process.stdin


def _close_in_child() -> None:
    """Close the pipe in a forked child, such as honcho's: the shell must see it close when the parent dies."""
    global _pipe
    if _pipe is not None:
        os.close(_pipe.fileno())
        _pipe = None
        _groups.clear()


os.register_at_fork(after_in_child=_close_in_child)
