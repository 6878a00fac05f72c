"""Forbids system calls to this process, by a seccomp filter. It cannot be undone, and needs no rights."""

import ctypes
import errno
import os
import platform
import struct

_SET_NO_NEW_PRIVS, _SET_SECCOMP, _FILTER = 38, 22, 2
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_CLONE_THREAD, _ACCESS_MODE = 0x10000, os.O_ACCMODE
_STREAM, _KIND_OF_SOCKET = 1, 0xF  # of socketpair: datagrams could be sent to the sockets of other programs
# Of fcntl: have signals sent to any process of this user when a pipe is ready.
_SIGNALS = (8, 10, 15)  # F_SETOWN, F_SETSIG, F_SETOWN_EX
# Of ioctl, all that Python needs: others change files that may only be read, or have signals sent.
_CONTROLS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # TCGETS TIOCGWINSZ FIONREAD FIONBIO FIONCLEX FIOCLEX
_PDEATHSIG = 1  # of prctl: it would outlive the stand-in
_NEWER = 463  # the calls from here on are not known to this list, such as setxattrat
# name: numbers on x86_64 and on aarch64, which lacks some old calls.
# fmt: off
_REFUSED = {
    # the network, and ways to it
    "socket": (41, 198), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    # other processes
    "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281), "ptrace": (101, 117),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "process_madvise": (440, 440),
    "process_mrelease": (448, 448), "kcmp": (312, 272), "tkill": (200, 130), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "pidfd_open": (434, 434), "pidfd_send_signal": (424, 424), "pidfd_getfd": (438, 438),
    "setpriority": (141, 140), "sched_setparam": (142, 118), "sched_setscheduler": (144, 119), "sched_setattr": (314, 274),
    "ioprio_set": (251, 30), "migrate_pages": (256, 238), "move_pages": (279, 239), "setsid": (112, 157), "setpgid": (109, 154),
    # memory and messages that outlive the process, or are not counted as its own
    "shmget": (29, 194), "semget": (64, 190), "msgget": (68, 186), "mq_open": (240, 180),
    "memfd_create": (319, 279), "memfd_secret": (447, 447),
    # files in other ways than Landlock looks at
    "truncate": (76, 45), "openat2": (437, 437), "open_by_handle_at": (304, 265), "link": (86, None), "linkat": (265, 37),
    "symlink": (88, None), "symlinkat": (266, 36), "mknod": (133, None), "mknodat": (259, 33), "chroot": (161, 51),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "removexattr": (197, 14), "lremovexattr": (198, 15),
    "fremovexattr": (199, 16), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "open_tree": (428, 428),
    "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "mount_setattr": (442, 442), "creat": (85, None), "fallocate": (285, 47),
    # what others do with files, and what the kernel logs
    "inotify_init": (253, None), "inotify_init1": (294, 26), "fanotify_init": (300, 262), "syslog": (103, 116),
    # large parts of the kernel that computing does not need
    "unshare": (272, 97), "setns": (308, 268), "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219), "personality": (135, 92), "modify_ldt": (154, None),
}
# They would reach files outside, so they do nothing; but programs that copy a file with its mode go on.
_IGNORED = {
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, None),
    "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54), "utime": (132, None), "utimes": (235, None),
    "futimesat": (261, None), "utimensat": (280, 88),
}
_OF_ITSELF = {"kill": (62, 129), "tgkill": (234, 131)}  # allowed if the first argument is this process
_OF_ZERO = {"prlimit64": (302, 261), "sched_setaffinity": (203, 122)}  # allowed if the first argument is 0: this process
_CLONE, _CLONE3, _OPEN, _OPENAT = (56, 220), (435, 435), (2, None), (257, 56)
_SOCKETPAIR, _FCNTL, _IOCTL, _PRCTL = (53, 199), (72, 25), (16, 29), (157, 167)
# fmt: on
_MACHINES = {
    "x86_64": (0, 0xC000003E),
    "aarch64": (1, 0xC00000B7),
}  # column of the tables, and the kernel's name for it
_X32 = 0x40000000  # the calls of another interface of x86_64

Numbers = tuple[int, int | None]
Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, value


def restrict() -> None:
    """From now on this process cannot use the network, start or touch processes, or mount. OSError if it cannot be set."""
    if platform.machine() not in _MACHINES:
        raise OSError(f"no filter is known for {platform.machine()}")
    instructions = _program(*_MACHINES[platform.machine()])
    libc = ctypes.CDLL(None, use_errno=True)
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *one) for one in instructions))
    program = struct.pack("@HP", len(instructions), ctypes.addressof(code))
    if libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(_SET_SECCOMP, _FILTER, program, 0, 0):
        raise OSError(ctypes.get_errno(), "the filter was refused")


def _program(column: int, machine: int) -> list[Instruction]:
    program: list[Instruction] = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, machine), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, 0)]
    if column == 0:
        program += [(_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _KILL)]
    program += [(_AT_LEAST, 0, 1, _NEWER), (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)]

    def when(numbers: Numbers, *body: Instruction) -> None:
        """What is done for one call. A body that reads an argument ends the program."""
        number = numbers[column]
        if number is not None:
            program.extend([(_EQUAL, 0, len(body), number), *body])

    def argument(index: int) -> Instruction:
        return _LOAD, 0, 0, 16 + 8 * index  # its lower half

    def one_of(values: tuple[int, ...], then: Instruction, otherwise: Instruction) -> list[Instruction]:
        return [one for value in values for one in ((_EQUAL, 0, 1, value), then)] + [otherwise]

    refuse, allow = (_RETURN, 0, 0, _ERRNO | errno.EPERM), (_RETURN, 0, 0, _ALLOW)
    for numbers in _REFUSED.values():
        when(numbers, refuse)
    for numbers in _IGNORED.values():
        when(numbers, (_RETURN, 0, 0, _ERRNO))
    for numbers in _OF_ITSELF.values():
        when(numbers, argument(0), (_EQUAL, 0, 1, os.getpid()), allow, refuse)
    for numbers in _OF_ZERO.values():
        when(numbers, argument(0), (_EQUAL, 0, 1, 0), allow, refuse)
    kind = (_AND, 0, 0, _KIND_OF_SOCKET)
    when(_SOCKETPAIR, argument(1), kind, (_EQUAL, 0, 1, _STREAM), allow, refuse)
    when(_FCNTL, argument(1), *one_of(_SIGNALS, refuse, allow))
    when(_IOCTL, argument(1), *one_of(_CONTROLS, allow, (_RETURN, 0, 0, _ERRNO | errno.EOPNOTSUPP)))
    when(_PRCTL, argument(0), *one_of((_PDEATHSIG,), refuse, allow))
    when(_CLONE, argument(0), (_ANY_BIT, 0, 1, _CLONE_THREAD), allow, refuse)
    when(
        _CLONE3, (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)
    )  # its flags are not visible here; the C library then uses clone
    for numbers, index in (
        (_OPEN, 1),
        (_OPENAT, 2),
    ):  # old versions of Landlock let it empty a file that may only be read
        flags = (_AND, 0, 0, os.O_TRUNC | _ACCESS_MODE)
        when(numbers, argument(index), flags, (_EQUAL, 0, 1, os.O_TRUNC | os.O_RDONLY), refuse, allow)
    return [*program, allow]
