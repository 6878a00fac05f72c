"""The signing keys' file: one key is active, one is published before it signs, retired ones verify until their last
token has expired. `python -m models keys create|list|rotate|revoke`; processes notice a change within a second.
"""

import fcntl
import json
import logging
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm

from models.auth.signing_keys import ACTIVE, NEXT, RETIRED, Key, KeySet, TokenInvalid, utc
from models.platform.clock import now
from models.platform.settings import settings

__all__ = ["Key", "KeySet", "TokenInvalid", "keyset"]
log = logging.getLogger(__name__)
LOOK_SECONDS = 1


class KeyFileInvalid(ValueError):
    """What the file holds is not a key set."""


class UnknownKey(LookupError):
    """No key in the file has this kid."""


class KeyFile:
    """The key set of a file, read again when the file has changed. A file that went bad changes nothing."""

    def __init__(self, path: Path):
        self.path, self.lock = path, threading.Lock()
        self.due = {False: time.monotonic() + LOOK_SECONDS, True: 0.0}
        self.stamp = _stamp(path)
        self._adopt(load(path))

    def current(self, sought: bool = False) -> KeySet:
        """The set. The file is looked at once a second at most, and once more for unknown keys (`sought`): one that
        has just arrived is found at once, and strangers' tokens cost no more than that.
        """
        if time.monotonic() >= self.due[sought]:
            with self.lock:
                if time.monotonic() >= self.due[sought]:
                    self._look()
                    self.due[sought] = time.monotonic() + LOOK_SECONDS  # only now: until then others wait for the lock
        return self.keys

    def _look(self) -> None:
        stamp = _stamp(self.path)
        if stamp == self.stamp:
            return
        self.stamp = stamp
        try:
            self._adopt(read(self.path))
            log.info("keys.changed", extra={"path": str(self.path), "active": self.keys.active.kid})
        except Exception as error:  # whatever is wrong with it, requests go on with the last good set
            log.error("keys.unusable", extra={"path": str(self.path), "reason": str(error)})

    def _adopt(self, keys: KeySet) -> None:
        keys.newest = partial(self.current, sought=True)
        self.keys = keys


@cache
def _file(path: str) -> KeyFile:
    return KeyFile(Path(path))


def keyset() -> KeySet:
    """The keys as they are now. Cheap enough for every request."""
    return _file(settings.auth_key_storage_path).current()


def load(path: Path) -> KeySet:
    """The key set that a process starts with; SystemExit without one. In development a missing file is created."""
    try:
        if not path.exists() and not settings.hardened:
            create(path)
        return read(path)
    except FileNotFoundError:
        raise SystemExit(
            f"No signing key at {path}: create one with `python -m models keys create`, or set AUTH_KEY_STORAGE_PATH."
        ) from None
    except (OSError, KeyFileInvalid) as error:
        raise SystemExit(f"No usable signing key: {error}") from None


def read(path: Path) -> KeySet:
    """The key set in a file. OSError when it cannot be read, KeyFileInvalid when it holds something else."""
    # A file from before there were states does not say when a key was retired: when it was written, at the latest.
    written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    try:
        document = json.loads(path.read_text())
        if document["schema_version"] != 1:
            raise ValueError(f"schema_version {document['schema_version']!r} is unknown")
        keys = [Key.parse(item, RETIRED if number else ACTIVE, written) for number, item in enumerate(document["keys"])]
        changed_at = utc(document["changed_at"]) if "changed_at" in document else None
    except (ValueError, KeyError, TypeError, AttributeError, UnsupportedAlgorithm) as error:
        raise KeyFileInvalid(f"{path} is not a key set: {type(error).__name__}: {error}") from None
    states = [key.state for key in keys]
    if states.count(ACTIVE) != 1 or states.count(NEXT) > 1 or len({key.kid for key in keys}) < len(keys):
        raise KeyFileInvalid(f"{path} is not a key set: one key is active, one may be next, and no kid comes twice.")
    return KeySet(keys, changed_at)


def create(path: Path) -> None:
    """Write a key set with an active and a next key. A file that is there already gets the next key if it lacks one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path) as path:
        keys = read(path).keys if path.exists() else []
        if not any(key.state == NEXT for key in keys):
            _write(path, keys)


def rotate(path: Path) -> None:
    """The next key becomes active, the active one retired, and a fresh one next."""
    with _locked(path) as path:
        _write(path, [key.retire(now()) if key.state == ACTIVE else key for key in read(path).keys])


def revoke(path: Path, kids: list[str]) -> None:
    """Take keys out, and with them every token that they signed. UnknownKey, and nothing done, if one is not there."""
    with _locked(path) as path:
        keys = read(path)
        if unknown := [kid for kid in kids if kid not in keys.by_kid]:
            raise UnknownKey(f"{path} has no key {', '.join(unknown)}.")
        _write(path, [key for key in keys.keys if key.kid not in kids])


def _write(path: Path, keys: list[Key]) -> None:
    """Replace the file at once and for good: with the empty places filled, and without keys whose time is over."""
    held = {key.state: key for key in keys}
    active = held.get(ACTIVE) or held.pop(NEXT, None) or Key.fresh(ACTIVE)
    following = held.get(NEXT) or Key.fresh(NEXT)
    keys = [replace(active, state=ACTIVE), following, *(key for key in keys if key.state == RETIRED and key.valid)]
    document = {"schema_version": 1, "changed_at": now().isoformat(), "keys": [key.stored() for key in keys]}
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # readable by its owner alone
    try:
        with open(handle, "w") as file:
            _give_to_owner(path, handle)
            file.write(json.dumps(document, indent=2))
            file.flush()
            os.fsync(handle)
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)  # a power cut must not bring a revoked key back
    os.close(folder)


@contextmanager
def _locked(path: Path) -> Iterator[Path]:
    """Nobody else changes the file meanwhile. Yields where it really is: a symbolic link to it stays one."""
    path = path.resolve()
    path.parent.stat()  # names the folder that is missing, not our lock
    handle = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _give_to_owner(path, handle)
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield path
    finally:
        os.close(handle)


def _give_to_owner(path: Path, handle: int) -> None:
    """What root writes belongs to the owner of the file, or of its folder: the processes are not root and read it."""
    if os.geteuid() == 0:
        owner = (path if path.exists() else path.parent).stat()
        os.fchown(handle, owner.st_uid, owner.st_gid)


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_size  # ctime: it may have become readable
