"""The confined process: `python -I -B child.py '{options}' < code`. Standard library only, and as little as possible."""

import ast
import ctypes
import json
import os
import resource
import struct
import sys
import traceback
from typing import Any

CANNOT_CONFINE, HAS_FAILED = 97, 1  # exit codes
_SET_PDEATHSIG, _SIGKILL, _CAPSET = 1, 9, {"x86_64": 126, "aarch64": 91}
_CAP_V3 = 0x20080522


def confine(options: dict[str, Any]) -> None:
    """Give up all that code must not have. OSError if the kernel does not do it."""
    sys.path.insert(0, options["root"])
    from devstack.openai.sandbox import landlock, seccomp

    sys.path.pop(0)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
    if os.getppid() != options["parent"]:
        raise OSError("the parent is gone")
    os.chdir(options["folder"])
    _limit("RLIMIT_AS", options["memory"])
    _limit("RLIMIT_CPU", options["seconds"])
    _limit("RLIMIT_FSIZE", options["file_bytes"])
    _limit("RLIMIT_NOFILE", 64)
    _limit("RLIMIT_CORE", 0)
    libc.prctl(38, 1, 0, 0, 0)  # no new rights by programs that have more
    # Root would be above the limits.
    header, none = struct.pack("=Ii", _CAP_V3, 0), bytes(24)
    if libc.syscall(_CAPSET.get(os.uname().machine, 126), header, none):
        raise OSError(ctypes.get_errno(), "capabilities cannot be dropped")
    landlock.restrict(options["readable"], options["writable"])
    seccomp.restrict()


def _limit(name: str, value: int) -> None:
    kind = getattr(resource, name)
    resource.setrlimit(kind, (value, value))


def run(code: str) -> int:
    """Run code like a cell of a notebook: what its last line says is printed, and figures are saved."""
    names: dict[str, object] = {"__name__": "__main__"}
    failed = 0
    try:
        tree = ast.parse(code, "<code>")
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, "<code>", "exec"), names)  # noqa: S102  (that is what it is for)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "<code>", "eval"), names)  # noqa: S307
            if value is not None:
                print(repr(value))
    except SystemExit as end:
        failed = bool(end.code)
    except BaseException as error:  # noqa: BLE001  (whatever code may raise)
        failed = HAS_FAILED
        own = error.__traceback__.tb_next if error.__traceback__ else None
        traceback.print_exception(type(error), error, own)
    _save_figures()
    return failed


def _save_figures() -> None:
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is None:
        return
    number = 0
    for figure in pyplot.get_fignums():
        number += 1
        while os.path.exists(f"figure-{number}.png"):  # noqa: PTH110
            number += 1
        pyplot.figure(figure).savefig(f"figure-{number}.png")


def main() -> int:
    options, code = json.loads(sys.argv[1]), sys.stdin.read()
    try:
        confine(options)
    except (OSError, ImportError, ValueError) as error:
        print(f"This machine cannot confine code, so it is not run: {error}")
        return CANNOT_CONFINE
    import warnings

    warnings.filterwarnings("ignore", message=".*non-interactive")  # figures are shown by being saved
    return run(code)


if __name__ == "__main__":
    ended = main()
    sys.stdout.flush()
    os._exit(ended)  # threads of the code do not hold it up
