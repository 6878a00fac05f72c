"""The parent's side: start a confined process, watch what it uses, and end it."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from devstack.openai.sandbox.child import CANNOT_CONFINE

MB = 1 << 20
SECONDS = 20  # of time and of computing
OUTPUT_CHARACTERS = 20_000
FILE_BYTES, FOLDER_BYTES, FOLDER_FILES = 16 * MB, 64 * MB, 500
MEMORY = {"1g": 1024 * MB, "4g": 1536 * MB, "16g": 2048 * MB, "64g": 2048 * MB}  # no more: this is a laptop
AT_ONCE = 3  # processes; others wait for a place
_LOOK = 0.05  # seconds between two looks
_SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/opt/python", "/etc/ld.so.cache", "/etc/localtime", "/etc/fonts")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
_CHILD = Path(__file__).with_name("child.py")
_places = threading.BoundedSemaphore(AT_ONCE)
_cache_lock = threading.Lock()


@dataclass
class Outcome:
    """`logs`: what it printed, its errors too. `stopped`: why it was ended, "" if it ended itself.
    `written`: the files that it made or changed, relative to the folder."""

    logs: str
    failed: bool
    stopped: str = ""
    written: list[str] = field(default_factory=list)


def run(code: str, folder: Path, cache: Path, memory: str = "1g", seconds: float = SECONDS) -> Outcome:
    """Run Python in `folder`, which is all that it can write. `cache`: a folder for matplotlib, that it can read."""
    with _places:
        _fill_cache(cache)
        return _run(code, folder, [str(folder)], cache, memory, seconds)


def _fill_cache(cache: Path) -> None:
    """matplotlib looks for fonts once, which takes seconds."""
    with _cache_lock:
        if not cache.exists():
            cache.mkdir(parents=True)
            _run("import matplotlib.font_manager", cache, [str(cache)], cache, "1g", SECONDS)


def _run(code: str, folder: Path, writable: list[str], cache: Path, memory: str, seconds: float) -> Outcome:
    before = usage(folder)
    options = {
        "parent": os.getpid(),
        "root": str(Path(__file__).parents[3]),  # of our own modules, which it reads before it is confined
        "folder": str(folder),
        "memory": MEMORY[memory],
        "seconds": int(seconds) + 1,
        "file_bytes": FILE_BYTES,
        "readable": [*_SYSTEM, sys.prefix, sys.base_prefix, os.path.realpath(sys.base_prefix), str(cache)],
        "writable": [*_DEVICES, *writable],
    }
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as output:
        source.write(code.encode("utf-8", "replace"))
        source.seek(0)
        process = subprocess.Popen(
            [sys.executable, "-I", "-B", str(_CHILD), json.dumps(options)],
            stdin=source,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=_environment(folder, cache),
            start_new_session=True,
        )
        try:
            stopped = _watch(process, folder, seconds)
        finally:
            process.kill()
            process.wait()
        logs = _text(output)
    after = usage(folder)
    if stopped:
        _remove(folder, after.keys() - before.keys())
        return Outcome(f"{logs}\n{stopped}".strip(), failed=True, stopped=stopped)
    written = sorted(name for name, seen in after.items() if before.get(name) != seen)
    if process.returncode < 0:
        logs = f"{logs}\nThe process was ended by signal {-process.returncode}.".strip()
    if process.returncode == CANNOT_CONFINE:
        return Outcome(logs, failed=True, stopped=logs)
    return Outcome(logs, failed=process.returncode != 0, written=written)


def _environment(folder: Path, cache: Path) -> dict[str, str]:
    # numpy's BLAS computes wrong results on some processors unless these say how.
    kept = {name: os.environ[name] for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE") if name in os.environ}
    own = {"HOME": str(folder), "TMPDIR": str(folder), "LANG": "C.UTF-8", "TZ": "UTC", "OPENBLAS_NUM_THREADS": "1"}
    return {**kept, **own, "MPLCONFIGDIR": str(cache), "MPLBACKEND": "agg"}


def _watch(process: "subprocess.Popen[bytes]", folder: Path, seconds: float) -> str:
    """Wait for its end. Why it has to be stopped, "" if it has ended."""
    end = time.monotonic() + seconds
    while process.poll() is None:
        if time.monotonic() > end:
            return f"The code was stopped: it ran for {seconds:g} seconds."
        files = usage(folder)
        if len(files) > FOLDER_FILES or sum(size for size, _ in files.values()) > FOLDER_BYTES:
            return f"The code was stopped: a container holds {FOLDER_FILES} files and {FOLDER_BYTES // MB} MB."
        time.sleep(_LOOK)
    return ""


def usage(folder: Path) -> dict[str, tuple[int, int]]:
    """{path of each file: (bytes, time of its last change)}. Hidden files count, too."""
    found: dict[str, tuple[int, int]] = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)  # noqa: PTH118  (this runs often, over many files)
            try:
                state = os.lstat(path)
            except FileNotFoundError:
                continue
            found[os.path.relpath(path, folder)] = (state.st_size, state.st_mtime_ns)
    return found


def _remove(folder: Path, names: set[str]) -> None:
    for name in names:
        (folder / name).unlink(missing_ok=True)


def _text(output: IO[bytes]) -> str:
    output.seek(0)
    text = output.read(OUTPUT_CHARACTERS * 4).decode("utf-8", "replace").rstrip()
    return text if len(text) <= OUTPUT_CHARACTERS else f"{text[:OUTPUT_CHARACTERS]}\n[the output goes on]"
