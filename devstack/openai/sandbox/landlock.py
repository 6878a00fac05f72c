"""Confines this process to a few folders, by Linux's Landlock. It cannot be undone, and needs no rights."""

import ctypes
import os
import struct
from collections.abc import Iterable

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same numbers on all processors
_VERSION, _PATH_BENEATH = 1, 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
_TRUNCATE = 1 << 14
_READ = _READ_FILE | _READ_DIR | _EXECUTE
_WRITE = _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _TRUNCATE  # no links, devices or pipes
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
# What each version of Landlock can forbid: all of it is forbidden unless a rule allows it.
_FILESYSTEM = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
_NETWORK, _SCOPES = 0b11, 0b11  # TCP since version 4; signals and abstract sockets since version 6
_libc = ctypes.CDLL(None, use_errno=True)


def version() -> int:
    """What the kernel can: 1 to 5 and more; 0 or less if it has no Landlock."""
    return int(_libc.syscall(_CREATE_RULESET, None, 0, _VERSION))


def restrict(readable: Iterable[str], writable: Iterable[str]) -> None:
    """From now on this process opens only files below these paths. OSError if the kernel cannot do it."""
    found = version()
    if found < 1:
        raise OSError("this kernel has no Landlock")
    handled = _FILESYSTEM[min(found, 5)]
    fields = [handled, _NETWORK if found >= 4 else 0, _SCOPES if found >= 6 else 0]
    rules = struct.pack("=3Q", *fields)[: 8 if found < 4 else 16 if found < 6 else 24]
    ruleset = _check(_libc.syscall(_CREATE_RULESET, rules, len(rules), 0))
    for path in readable:
        _allow(ruleset, path, _READ & handled)
    for path in writable:
        _allow(ruleset, path, (_READ | _WRITE) & handled)
    _check(_libc.syscall(_RESTRICT_SELF, ruleset, 0))
    os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    if not os.path.isdir(path):  # noqa: PTH112  (pathlib takes long to import, and this is a child's start)
        rights &= _OF_FILES
    _check(_libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, folder), 0))
    os.close(folder)


def _check(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
