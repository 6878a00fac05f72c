"""What code in the stand-in's sandbox cannot do. Each of these really tries it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from devstack.openai.sandbox import process
from devstack.openai.sandbox.child import CANNOT_CONFINE


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache") / "matplotlib"
    folder.mkdir()  # no test here draws, so nothing has to be looked for
    return folder


@pytest.fixture
def run(tmp_path, cache):
    """run(code, ...) -> what came of it, in a folder of its own."""
    folder = tmp_path / "container"
    folder.mkdir()
    return lambda code, **more: process.run(code, folder, cache, **more)


def test_code_computes_and_writes_files(run, tmp_path):
    outcome = run(
        "import os, shutil\nos.makedirs('a')\nopen('a/b.txt', 'w').write('1')\nshutil.copy('a/b.txt', 'c.txt')"
    )
    assert (outcome.logs, outcome.failed, outcome.written) == ("'c.txt'", False, ["a/b.txt", "c.txt"])
    assert (tmp_path / "container" / "c.txt").read_text() == "1"


def test_an_error_is_told_without_our_own_frames(run):
    outcome = run("def half(x):\n    return x / 0\nhalf(1)")
    assert outcome.failed and "ZeroDivisionError" in outcome.logs and "child.py" not in outcome.logs


def refusals(run, prelude, attempts):
    """Run all attempts in one process -> {attempt: the name of the error that it met, or what it returned}."""
    code = (
        f"import ctypes, json, multiprocessing, os, resource, socket, subprocess\n{prelude}\nmet = {{}}\n"
        f"for attempt in {attempts!r}:\n"
        "    try:\n        met[attempt] = repr(eval(attempt))\n"
        "    except OSError as error:\n        met[attempt] = type(error).__name__\n"
        "print(json.dumps(met))"
    )
    outcome = run(code)
    assert not outcome.failed, outcome.logs
    return json.loads(outcome.logs)


def all_refused(run, prelude, attempts):
    met = refusals(run, prelude, attempts)
    assert met == dict.fromkeys(attempts, "PermissionError")


def test_it_has_no_network(run):
    attempts = [
        "socket.create_connection(('127.0.0.1', 22))",
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
        "socket.socket(socket.AF_UNIX)",
        "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    ]
    all_refused(run, "", attempts)
    assert refusals(run, "", ["ctypes.CDLL(None).syscall(425, 8, None)"]).popitem()[1] == "-1"  # no io_uring


def test_it_sends_nothing_to_the_sockets_of_other_programs(run, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(tmp_path / "log"))
        for kind in ("DGRAM", "SEQPACKET", "RAW"):
            all_refused(run, "", [f"socket.socketpair(socket.AF_UNIX, socket.SOCK_{kind})"])
    assert run("import asyncio; asyncio.run(asyncio.sleep(0, 7))").logs == "7"


def test_it_reads_no_files_but_its_own(run, tmp_path):
    (tmp_path / "state.txt").write_text("secret")
    paths = [
        "/etc/shadow",
        "/etc/passwd",
        "/proc/self/environ",
        f"/proc/{os.getpid()}/environ",
        str(tmp_path / "state.txt"),
    ]
    folders = ["/root", "/tmp", str(tmp_path), str(Path.cwd())]
    all_refused(
        run, "", [*(f"open({path!r}).read()" for path in paths), *(f"os.listdir({path!r})" for path in folders)]
    )


def test_it_sees_nothing_of_the_environment(run, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    outcome = run("import os; print(os.environ)")
    assert "HOME" in outcome.logs and "very-secret" not in outcome.logs and "OPENAI" not in outcome.logs


def test_it_changes_no_files_but_its_own(run, tmp_path):
    target = tmp_path / "ours.txt"
    target.write_text("ours")
    attempts = [
        "open(target, 'w')",
        "open(target, 'a')",
        "os.truncate(target, 0)",
        "os.open(target, os.O_RDONLY | os.O_TRUNC)",
        "os.remove(target)",
        "os.rename(target, 'mine')",
        "os.symlink(target, 'mine')",
        "os.link(target, 'mine')",
        "os.mkfifo('mine')",
        "os.mkdir(target + '.d')",
    ]
    all_refused(run, f"target = {str(target)!r}", attempts)
    assert target.read_text() == "ours" and sorted(path.name for path in tmp_path.iterdir()) == [
        "container",
        "ours.txt",
    ]


def test_modes_and_times_of_files_stay_what_they_are(run, tmp_path):
    target = tmp_path / "ours.txt"
    target.touch(0o600)
    before = target.stat()
    run(f"import os\nos.chmod({str(target)!r}, 0o777)\nos.utime({str(target)!r}, (1, 1))")
    assert (target.stat().st_mode, target.stat().st_mtime_ns) == (before.st_mode, before.st_mtime_ns)


def test_it_starts_and_touches_no_processes(run):
    attempts = [
        "os.fork()",
        "os.posix_spawn('/bin/true', ['true'], {})",
        "os.execv('/bin/true', ['true'])",
        "subprocess.run(['/bin/true'])",
        "multiprocessing.get_context('fork').Process(target=print).start()",
        "os.kill(parent, 9)",
        "os.kill(-1, 9)",
        "os.killpg(os.getpgid(0), 9)",
        "resource.prlimit(parent, resource.RLIMIT_NOFILE, (0, 0))",
        "os.setpriority(os.PRIO_PROCESS, parent, 19)",
        "os.sched_setaffinity(parent, {0})",
        "os.pidfd_open(parent)",
    ]
    all_refused(run, f"parent = {os.getpid()}", attempts)
    assert "not permitted" in run("import os\nwhile True: os.fork()").logs


def test_it_has_no_signals_sent(run):
    prelude = "import fcntl\nlibc = ctypes.CDLL(None, use_errno=True)\nr, w = os.pipe()"
    all_refused(run, prelude, [f"fcntl.fcntl(r, {command}, {os.getppid()})" for command in (8, 10)])
    attempts = ["libc.prctl(1, 0, 0, 0, 0)", "libc.fcntl(r, 15, bytes(8))", "libc.ioctl(r, 0x8901, bytes(4))"]
    assert refusals(run, prelude, attempts) == dict.fromkeys(attempts, "-1")


def test_it_changes_nothing_about_files_that_it_may_read(run, tmp_path):
    target = tmp_path / "ours.txt"
    target.touch()
    value = "ctypes.create_string_buffer(b'1')"
    prelude = f"import struct\nlibc = ctypes.CDLL(None)\nvalue = {value}\nargs = struct.pack('QII', ctypes.addressof(value), 1, 0)"
    attempts = [
        f"libc.syscall(463, -100, {str(target).encode()!r}, 0, b'user.x', args, 16)",
        "libc.ioctl(os.open(os.__file__, os.O_RDONLY), 0x40086602, bytes(8))",
        "libc.inotify_init()",
        "libc.klogctl(3, value, 1)",
    ]
    assert refusals(run, prelude, attempts) == dict.fromkeys(attempts, "-1")
    assert os.listxattr(target) == []


def test_it_cannot_have_more_memory_than_its_tier(run):
    assert "MemoryError" in run("bytearray(8 << 30)").logs
    assert "MemoryError" in run("x = []\nwhile True: x.append(bytearray(64 << 20))").logs
    assert not run("len(bytearray(1200 << 20))", memory="64g").failed
    assert "not allowed" in run("import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40))").logs


def test_it_cannot_fill_the_disk(run, tmp_path):
    (tmp_path / "container" / "old").write_text("stays")
    assert "too large" in run("open('one', 'wb').write(bytes(100 << 20))").logs
    many = run("n = 0\nwhile True:\n    open(f'f{n}', 'wb').write(bytes(8 << 20))\n    n += 1")
    assert "64 MB" in many.stopped and not many.written
    small = run("n = 0\nwhile True:\n    open(f'f{n}', 'wb').close()\n    n += 1")
    assert "500 files" in small.stopped
    assert (tmp_path / "container" / "old").read_text() == "stays" and not (tmp_path / "container" / "f0").exists()


def test_it_cannot_hide_what_it_writes(run, tmp_path):
    (tmp_path / "container" / "old").write_text("stays")
    deep = run("import os\nwhile True:\n    os.mkdir('d' * 200)\n    os.chdir('d' * 200)")
    assert "16 levels" in deep.stopped
    wide = run("import os\nfor n in range(501): os.mkdir(str(n))")
    assert "500 files and folders" in wide.stopped
    closed = run("import os\nos.mkdir('d', 0o300)\nfor n in range(5): open(f'd/{n}', 'wb').write(bytes(15 << 20))")
    assert "64 MB" in closed.stopped
    gone = run("import os\nwhile True:\n    open('f', 'wb').write(bytes(8 << 20))\n    os.remove('f')")
    assert "wrote more than 512 MB" in gone.stopped
    prelude = "libc = ctypes.CDLL(None)\nnew = os.open('new', os.O_CREAT | os.O_RDWR)"
    assert refusals(run, prelude, ["libc.fallocate(new, 1, 0, 4096)"]).popitem()[1] == "-1"  # blocks beyond its size
    assert sorted(path.name for path in (tmp_path / "container").iterdir()) == ["new", "old"]
    assert (tmp_path / "container" / "old").read_text() == "stays"


def test_it_has_few_threads(run):
    code = "import threading\nthreading.stack_size(1 << 16)\nwhile True: threading.Thread(target=threading.Event().wait).start()"
    assert "more than 100 threads" in run(code).stopped


@pytest.mark.parametrize("code", ["while True: pass", "import time; time.sleep(60)"])
def test_it_cannot_run_for_ever(run, code):
    began = time.monotonic()
    outcome = run(code, seconds=0.5)
    assert "it ran for 0.5 seconds" in outcome.stopped and time.monotonic() - began < 30


def test_what_it_prints_is_bounded_and_never_breaks_us(run):
    assert run("print('x' * 10_000_000)").logs.endswith("[the output goes on]")
    assert len(run("import sys\nwhile True: sys.stdout.write('x' * (1 << 20))").logs) < 30_000
    assert "�" in run("import sys; sys.stdout.buffer.write(bytes([255, 254]))").logs


def test_its_own_end_is_told(run):
    assert "signal 6" in run("import os; os.abort()").logs
    assert run("import sys; sys.exit(3)").failed and not run("import sys; sys.exit(0)").failed
    assert not run("import threading\nfor _ in range(4): threading.Thread(target=print, args=('a',)).start()").failed


def test_a_crowd_waits_for_places(tmp_path, cache):
    def one(number):
        folder = tmp_path / str(number)
        folder.mkdir()
        return process.run(f"{number} * 2", folder, cache).logs

    with ThreadPoolExecutor(12) as threads:
        assert list(threads.map(one, range(12))) == [str(number * 2) for number in range(12)]


def test_it_ends_with_its_parent(tmp_path):
    code = (
        "from pathlib import Path\nfrom devstack.openai.sandbox import process\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "process.run(\"import os, time\\nopen('pid', 'w').write(str(os.getpid()))\\ntime.sleep(60)\", folder, folder)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    pid = tmp_path / "pid"
    _until(lambda: pid.exists() and pid.read_text())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    _until(lambda: not Path(f"/proc/{pid.read_text()}").exists())


def test_where_the_kernel_cannot_confine_it_nothing_runs(run, monkeypatch, tmp_path):
    child = tmp_path / "child.py"
    real = Path(process.__file__).with_name("child.py").read_text()
    child.write_text(real.replace("import landlock, seccomp", "import no_such_module"))
    monkeypatch.setattr(process, "_CHILD", child)
    outcome = run("open('ran', 'w')")
    assert outcome.failed and "cannot confine" in outcome.stopped and not (tmp_path / "container" / "ran").exists()
    assert CANNOT_CONFINE == 97


def _until(happens):
    end = time.monotonic() + 60
    while not happens():
        assert time.monotonic() < end
        time.sleep(0.02)
