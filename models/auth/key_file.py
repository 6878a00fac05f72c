"""The file with the signing keys. One key is active; the next one is published before it signs; retired keys verify
until their last token has expired. `python -m models keys` changes it, and running processes notice within a second.
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
from functools import cache
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm

from models.auth.signing_keys import ACTIVE, NEXT, RETIRED, Key, KeySet, utc
from models.platform.clock import now
from models.platform.settings import settings

log = logging.getLogger(__name__)
LOOK_SECONDS = 1


class KeyFileInvalid(ValueError):
    """The file does not contain a key set."""


class UnknownKey(LookupError):
    """The file has no key with this id."""


class Interval:
    """Tells when LOOK_SECONDS have passed since the last `restart`."""

    def __init__(self, *, due_at_once: bool):
        self.due_at = 0.0 if due_at_once else time.monotonic() + LOOK_SECONDS

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self.due_at

    def restart(self) -> None:
        self.due_at = time.monotonic() + LOOK_SECONDS


class KeyFile:
    """The key set in a file, read again when the file has changed. If the new content is bad, the old set stays.

    The file's stamp is looked at once a second at most; for tokens with an unknown key, once more per second. So a new
    key is found at once, and tokens with made-up key ids cost no more than that.
    """

    def __init__(self, path: Path):
        self.path, self.lock = path, threading.Lock()
        self.routine, self.unknown_key = Interval(due_at_once=False), Interval(due_at_once=True)
        self.stamp = _stamp(path)
        self._adopt(load(path))

    def current(self) -> KeySet:
        """The key set, at most LOOK_SECONDS old."""
        self._look_when_over(self.routine)
        return self.keys

    def current_for_unknown_key(self) -> KeySet:
        """The key set, read again if the file has changed since the last look."""
        self._look_when_over(self.unknown_key)
        return self.keys

    def _look_when_over(self, interval: Interval) -> None:
        if not interval.is_over:
            return
        with self.lock:
            if interval.is_over:  # nobody else has looked while this thread waited for the lock
                self._look()
                interval.restart()

    def _look(self) -> None:
        stamp = _stamp(self.path)
        if stamp == self.stamp:
            return
        self.stamp = stamp
        try:
            self._adopt(read(self.path))
            log.info("keys.changed", extra={"path": str(self.path), "active": self.keys.active.kid})
        except Exception as error:  # noqa: BLE001  (whatever is wrong with the file, the last good set stays)
            log.error("keys.unusable", extra={"path": str(self.path), "reason": str(error)})  # noqa: TRY400  (a traceback says no more)

    def _adopt(self, keys: KeySet) -> None:
        self.keys = KeySet(keys.keys, keys.changed_at, reload=self.current_for_unknown_key)


@cache
def _file(path: str) -> KeyFile:
    return KeyFile(Path(path))


def keyset() -> KeySet:
    """The current keys of this installation. Cheap enough to call for every request."""
    return _file(settings.auth_key_storage_path).current()


def load(path: Path) -> KeySet:
    """The key set that a process starts with. In development a missing file is created.

    Raises SystemExit if there is no usable key set.
    """
    try:
        if not path.exists() and not settings.hardened:
            create(path)
        _refuse_if_open(path)
        return read(path)
    except FileNotFoundError:
        raise SystemExit(
            f"No signing key at {path}: create one with `python -m models keys create`, or set AUTH_KEY_STORAGE_PATH."
        ) from None
    except (OSError, KeyFileInvalid) as error:
        raise SystemExit(f"No usable signing key: {error}") from None


def _refuse_if_open(path: Path) -> None:
    """In production, others may do nothing with the file and its group may only read it, as secret stores mount files."""
    mode = path.stat().st_mode & 0o777
    if settings.hardened and mode & 0o027:
        raise KeyFileInvalid(f"{path} has mode {mode:o}, so that others can use the keys: run `chmod 600 {path}`.")


def read(path: Path) -> KeySet:
    """The key set in a file. Raises OSError or KeyFileInvalid."""
    # An older file does not say when a key was retired. The time of writing is the latest possible moment.
    written_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    try:
        document = json.loads(path.read_text())
        if document["schema_version"] != 1:
            raise ValueError(f"schema_version {document['schema_version']!r} is unknown")
        keys = [
            Key.parse(item, RETIRED if number else ACTIVE, written_at) for number, item in enumerate(document["keys"])
        ]
        changed_at = utc(document["changed_at"]) if "changed_at" in document else None
    except (ValueError, KeyError, TypeError, AttributeError, UnsupportedAlgorithm) as error:
        raise KeyFileInvalid(f"{path} is not a key set: {type(error).__name__}: {error}") from None
    states = [key.state for key in keys]
    if states.count(ACTIVE) != 1 or states.count(NEXT) > 1 or len({key.kid for key in keys}) < len(keys):
        raise KeyFileInvalid(
            f"{path} is not a key set: exactly one key must be active, at most one next, and key ids unique."
        )
    return KeySet(keys, changed_at)


def create(path: Path) -> None:
    """Write a key set with an active and a next key. An existing file gets a next key if it lacks one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path) as file:
        keys = read(file).keys if file.exists() else []
        if not any(key.state == NEXT for key in keys):
            _write(file, keys)


def rotate(path: Path) -> None:
    """Make the next key active, retire the active one, and add a new next key."""
    with _locked(path) as file:
        _write(file, [key.retire(now()) if key.state == ACTIVE else key for key in read(file).keys])


def revoke(path: Path, kids: list[str]) -> None:
    """Remove keys: every token that they signed is refused from then on.

    Raises UnknownKey, and changes nothing, if one of the ids is not in the file.
    """
    with _locked(path) as file:
        keys = read(file)
        if unknown := [kid for kid in kids if kid not in keys.by_kid]:
            raise UnknownKey(f"{file} has no key {', '.join(unknown)}.")
        _write(file, [key for key in keys.keys if key.kid not in kids])


def _write(path: Path, keys: list[Key]) -> None:
    """Replace the file atomically. Missing active and next keys are generated, expired retired keys dropped."""
    keys = _complete(keys)
    document = {"schema_version": 1, "changed_at": now().isoformat(), "keys": [key.to_json() for key in keys]}
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # readable by its owner only
    draft = Path(name)
    try:
        with os.fdopen(handle, "w") as file:
            _give_to_owner(path, handle)
            file.write(json.dumps(document, indent=2))
            file.flush()
            os.fsync(handle)
        draft.replace(path)
    except BaseException:
        draft.unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)  # or a power cut could bring a revoked key back
    os.close(folder)


def _complete(keys: list[Key]) -> list[Key]:
    by_state = {key.state: key for key in keys}
    active = by_state.get(ACTIVE) or by_state.pop(NEXT, None) or Key.generate(ACTIVE)
    following = by_state.get(NEXT) or Key.generate(NEXT)
    retired = [key for key in keys if key.state == RETIRED and key.valid]
    return [replace(active, state=ACTIVE), following, *retired]


@contextmanager
def _locked(path: Path) -> Iterator[Path]:
    """Keep other processes from changing the file. Yields the file's real path, so that a symbolic link stays one."""
    path = path.resolve()
    path.parent.stat()  # so that the error for a missing folder names the folder, not our lock file
    handle = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _give_to_owner(path, handle)
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield path
    finally:
        os.close(handle)


def _give_to_owner(path: Path, handle: int) -> None:
    """Give what root writes to the owner of the file or its folder: the processes that read it do not run as root."""
    if os.geteuid() == 0:
        owner = (path if path.exists() else path.parent).stat()
        os.fchown(handle, owner.st_uid, owner.st_gid)


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_size  # ctime changes when permissions do
