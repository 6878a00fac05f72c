"""The worker's side of the child that reads a file: it starts it, listens to it, and ends it, whatever happens."""

import json
import logging
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO, Any, NamedTuple

import orjson

from models.platform.settings import settings
from workers.vector_stores.extraction.failures import MESSAGES, Unreadable

log = logging.getLogger(__name__)
ROOT = Path(__file__).parents[3]
# -I: neither the environment nor the folder says what is imported, so the child is told where we are.
START = "import sys; sys.path.append(sys.argv[2]); from workers.vector_stores.extraction import child; sys.path.pop(); child.main(sys.argv[1])"
PIPE_BYTES = 1024 * 1024  # that the child may be ahead of us
LONGEST_LINE = 8 * 1024 * 1024  # bytes
LONGEST_ANSWER = 512 * 1024 * 1024  # bytes, of all chunks; each repeats a part of the one before
CHECK_SECONDS = 0.1  # how often we look whether we are to stop
SLACK = 2  # times its processor time that we wait for the child, in all


class Reading(NamedTuple):
    """`pages`: None without pages. `chunks`: (text, page), as they are read."""

    type: str
    pages: int | None
    confined: list[str]
    chunks: Iterator[tuple[str, int | None]]


@contextmanager
def reading(
    file: IO[bytes], declared: str | None, *, size: int, overlap: int, checkpoint: Callable[[], None]
) -> Iterator[Reading]:
    """Read a file from its beginning, in a child of its own, which is gone when the block ends. Unreadable, here or while chunks are read.

    `declared`: its type, as somebody has said. `size`, `overlap`: tokens of a chunk. `checkpoint` is called while we wait,
    and may raise.
    """
    with tempfile.TemporaryDirectory(prefix="read-") as folder:
        child = _start(folder, file, declared, size, overlap)
        try:
            lines = _lines(child, checkpoint)
            first = _next(lines, child)
            _tell_once(tuple(first["confined"]))
            yield Reading(first["type"], first["pages"], first["confined"], _chunks(lines, child))
        finally:
            _end(child)


@cache
def _tell_once(confined: tuple[str, ...]) -> None:
    """Operators are told what the system does not let the child give up."""
    if missing := sorted({"network", "files"} - set(confined)):
        log.warning("file.reader_not_confined", extra={"reason": f"the system lets it keep: {', '.join(missing)}"})


def _start(folder: str, file: IO[bytes], declared: str | None, size: int, overlap: int) -> "subprocess.Popen[bytes]":
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    request = {
        "declared": declared,
        "size": size,
        "overlap": overlap,
        "memory": settings.index_memory_mb * 1024 * 1024,
        "seconds": settings.index_seconds,
        "parent": os.getpid(),
    }
    command = [sys.executable, "-I", "-c", START, json.dumps(request), str(ROOT)]
    return subprocess.Popen(
        command,
        stdin=file,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env={"LC_ALL": "C.UTF-8"},
        start_new_session=True,
        pipesize=PIPE_BYTES,
        bufsize=0,
    )


def _lines(child: "subprocess.Popen[bytes]", checkpoint: Callable[[], None]) -> Iterator[bytes]:
    """The lines that the child writes. Only the time that we wait for it counts against it."""
    pipe, rest, total, left = child.stdout, b"", 0, float(SLACK * settings.index_seconds)
    while pipe is not None:
        checkpoint()
        started = time.monotonic()
        is_there, _, _ = select.select([pipe], [], [], CHECK_SECONDS)
        left -= time.monotonic() - started
        if left <= 0:
            raise Unreadable("too_slow")
        if not is_there:
            continue
        data = os.read(pipe.fileno(), PIPE_BYTES)
        if not data:
            return
        total += len(data)
        *lines, rest = (rest + data).split(b"\n")
        if len(rest) > LONGEST_LINE or total > LONGEST_ANSWER:
            raise Unreadable("too_much_text")
        yield from lines


def _next(lines: Iterator[bytes], child: "subprocess.Popen[bytes]") -> dict[str, Any]:
    line = next(lines, None)
    if line is None:
        raise _ended(child)
    try:
        said: dict[str, Any] = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise Unreadable("reader_failed") from error
    if "error" in said:
        if "cause" in said:
            log.warning("file.reader_failed", extra={"reason": str(said["cause"])[:200]})
        code = said["error"] if said["error"] in MESSAGES else "reader_failed"
        raise Unreadable(code, said.get("message"))
    return said


def _chunks(lines: Iterator[bytes], child: "subprocess.Popen[bytes]") -> Iterator[tuple[str, int | None]]:
    while "end" not in (said := _next(lines, child)):
        yield said["text"], said["page"]


def _ended(child: "subprocess.Popen[bytes]") -> Unreadable:
    """Why the child has ended without a word."""
    status = child.wait()
    log.warning("file.reader_ended", extra={"status": status})
    if status == -signal.SIGXCPU:
        return Unreadable("too_slow")
    if status == -signal.SIGKILL:  # not by us: the system was short of memory
        return Unreadable("too_much_memory")
    return Unreadable("reader_failed")


def _end(child: "subprocess.Popen[bytes]") -> None:
    """Kill the child, with all that it may have started."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        child.kill()
    if child.stdout is not None:
        child.stdout.close()
    child.wait()
