"""The parent's side: start a confined process, watch what it uses, and end it."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from devstack.openai.sandbox.child import CANNOT_CONFINE

MB = 1 << 20
SECONDS = 20  # of time and of computing
OUTPUT_CHARACTERS = 20_000
FILE_BYTES, FOLDER_BYTES, FOLDER_FILES, DEEPEST = 16 * MB, 64 * MB, 500, 16
WRITTEN_BYTES, THREADS = 512 * MB, 100  # also to files that are removed again
MEMORY = {"1g": 1024 * MB, "4g": 1536 * MB, "16g": 2048 * MB, "64g": 2048 * MB}  # no more: this is a laptop
AT_ONCE = 3  # processes; others wait for a place
_LOOK = 0.05  # seconds between two looks
_SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/opt/python", "/etc/ld.so.cache", "/etc/localtime", "/etc/fonts")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
_CHILD = Path(__file__).with_name("child.py")
_places = threading.BoundedSemaphore(AT_ONCE)
_cache_lock = threading.Lock()


class Overfull(Exception):
    """More files and folders than a container holds, or deeper ones."""


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
    stopped = stopped or _excess(folder)  # it may have ended between two looks
    if stopped:
        _restore(folder, before.keys())
        return Outcome(f"{logs}\n{stopped}".strip(), failed=True, stopped=stopped)
    after = usage(folder)
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
        if excess := _excess(folder) or _effort(process.pid):
            return excess
        time.sleep(_LOOK)
    return ""


def _excess(folder: Path) -> str:
    """Why the code has to be stopped: what its folder holds. "" if that is allowed."""
    try:
        if sum(size for size, _ in usage(folder).values()) <= FOLDER_BYTES:
            return ""
    except Overfull:
        pass
    held = f"{FOLDER_FILES} files and folders, {DEEPEST} levels deep, and {FOLDER_BYTES // MB} MB"
    return f"The code was stopped: a container holds {held}."


def _effort(pid: int) -> str:
    """Why the code has to be stopped: what its process does. "" if that is allowed, or it has ended."""
    try:
        threads = len(os.listdir(f"/proc/{pid}/task"))  # noqa: PTH208  (as below)
        counts = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    except OSError:
        return ""
    if threads > THREADS:
        return f"The code was stopped: it had more than {THREADS} threads."
    if max(int(counts["wchar"]), int(counts["write_bytes"])) > WRITTEN_BYTES:
        return f"The code was stopped: it wrote more than {WRITTEN_BYTES // MB} MB."
    return ""


def usage(folder: Path) -> dict[str, tuple[int, int]]:
    """{path of each file: (bytes, time of its last change)}. Hidden files count, too. Overfull."""
    found: dict[str, tuple[int, int]] = {}
    folders, waiting = 0, [("", 0)]
    while waiting:
        inner, depth = waiting.pop()
        for entry in _entries(os.path.join(folder, inner)):  # noqa: PTH118  (this runs often, over many files)
            name = inner + entry.name
            try:
                if entry.is_dir(follow_symlinks=False):
                    folders += 1
                    waiting.append((f"{name}/", depth + 1))
                else:
                    state = entry.stat(follow_symlinks=False)
                    found[name] = (state.st_size, state.st_mtime_ns)
            except FileNotFoundError:
                continue
            if len(found) + folders > FOLDER_FILES or depth >= DEEPEST:
                raise Overfull
    return found


def _entries(path: str) -> "Iterator[os.DirEntry[str]]":
    try:
        scan = os.scandir(path)
    except PermissionError:  # code can make a folder that only it can use
        os.chmod(path, 0o700)  # noqa: PTH101
        scan = os.scandir(path)
    except FileNotFoundError:
        return
    with scan:
        yield from scan


def _restore(folder: Path, names: Iterable[str]) -> None:
    """Remove all but the files with these names."""
    kept = {name.split("/")[0] for name in names}
    remove(*(folder / entry.name for entry in _entries(str(folder)) if entry.name not in kept))
    try:
        left = usage(folder).keys()
    except Overfull:  # in a folder that was there before
        remove(*(folder / entry.name for entry in _entries(str(folder)) if entry.is_dir(follow_symlinks=False)))
        left = usage(folder).keys()
    for name in left - set(names):
        (folder / name).unlink(missing_ok=True)


def remove(*paths: Path) -> None:
    """Remove files and folders, which may be deeper than Python can follow, and without rights for us."""
    if paths := tuple(path for path in paths if os.path.lexists(path)):
        subprocess.run(["chmod", "-R", "u+rwx", "--", *paths], check=False, stderr=subprocess.DEVNULL)
        subprocess.run(["rm", "-rf", "--", *paths], check=False, stderr=subprocess.DEVNULL)


def _text(output: IO[bytes]) -> str:
    output.seek(0)
    text = output.read(OUTPUT_CHARACTERS * 4).decode("utf-8", "replace").rstrip()
    return text if len(text) <= OUTPUT_CHARACTERS else f"{text[:OUTPUT_CHARACTERS]}\n[the output goes on]"
