"""What the child takes from itself before it looks at a file: memory, time, files, the network, and its own future rights.

Limits hold on any Unix. The rest is Linux's, and as much of it as the system allows: `confine` says what it has.
"""

import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 1, 4, 38
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
# Landlock: https://docs.kernel.org/userspace-api/landlock.html. The numbers of its calls are the same on all machines.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
ALL_OF_FIRST_VERSION = (1 << 13) - 1
READ_FILE, READ_DIR = 1 << 2, 1 << 3
RULE_PATH_BENEATH = 1
OPEN_FILES = 64


def limit(*, memory: int, seconds: int) -> None:
    """`memory`: bytes of address space. `seconds`: of processor time. No files can be written, and there is no core dump."""
    for what, soft, hard in (
        (resource.RLIMIT_AS, memory, memory),
        (resource.RLIMIT_CPU, seconds, seconds + 5),
        (resource.RLIMIT_FSIZE, 0, 0),
        (resource.RLIMIT_NOFILE, OPEN_FILES, OPEN_FILES),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        _, highest = resource.getrlimit(what)
        most = hard if highest == resource.RLIM_INFINITY else min(hard, highest)
        resource.setrlimit(what, (min(soft, most), most))


def die_with(parent: int) -> None:
    """Have the system kill this process when its parent dies; it has died already if it is another one."""
    if sys.platform == "linux":
        _libc().prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def confine(readable: list[str]) -> list[str]:
    """Give up the network, and all files but those in the `readable` folders. Returns which of `network`, `files` that worked for."""
    if sys.platform != "linux":
        return []
    libc = _libc()
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    has = []
    if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0 or libc.unshare(CLONE_NEWNET) == 0:
        has.append("network")
    if _only_files_in(libc, readable):
        has.append("files")
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    return has


class _RulesetAttributes(ctypes.Structure):
    _fields_ = [("handled_access_fs", ctypes.c_uint64)]


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32)]


def _only_files_in(libc: ctypes.CDLL, folders: list[str]) -> bool:
    attributes = _RulesetAttributes(ALL_OF_FIRST_VERSION)
    ruleset = libc.syscall(CREATE_RULESET, ctypes.byref(attributes), ctypes.sizeof(attributes), 0)
    if ruleset < 0:
        return False
    for folder in folders:
        if Path(folder).is_dir():
            beneath = os.open(folder, os.O_PATH | os.O_CLOEXEC)
            rule = _PathBeneath(READ_FILE | READ_DIR, beneath)
            libc.syscall(ADD_RULE, ruleset, RULE_PATH_BENEATH, ctypes.byref(rule), 0)
            os.close(beneath)
    is_restricted = bool(libc.syscall(RESTRICT_SELF, ruleset, 0) == 0)
    os.close(ruleset)
    return is_restricted


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
