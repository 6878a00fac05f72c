"""A stack: the parts in one state folder, and the product's processes on top of them."""

import fcntl
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from devstack.parts import ALL, Part
from devstack.process import Process, free_port

ROOT = Path(__file__).parent.parent
EMAIL, PASSWORD = "demo@example.com", "demo-password-please-change"


def procfile() -> dict[str, str]:
    """Process name -> command, from the Procfile."""
    lines = (ROOT / "Procfile").read_text().splitlines()
    pairs = (line.split(":", 1) for line in lines if line.strip() and not line.startswith("#"))
    return {name.strip(): command.strip() for name, command in pairs}


def claim(state: Path) -> IO[bytes] | None:
    """The state folder's lock for as long as the answer is open; None when another process holds it."""
    lock = (state / "lock").open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


def key_file(state: Path) -> Path:
    """The instance's signing keys."""
    return state.resolve() / "keys" / "keyset.json"


class Stack:
    """`with Stack(folder) as stack: stack.start_parts(); stack.migrate(); stack.spawn("edge")`."""

    def __init__(self, state: Path, port: int | None = None, environ: Mapping[str, str] | None = None):
        self.state = Path(state).resolve()
        self.state.mkdir(parents=True, exist_ok=True)
        self.environ = dict(os.environ if environ is None else environ)
        self.port = port or free_port()
        self.parts: dict[str, Part] = {}
        self.env: dict[str, str] = {}
        self.processes: list[Process] = []
        self.lock: IO[bytes] | None = None

    def __enter__(self) -> "Stack":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def own(self) -> None:
        """Nobody else may use the folder: two Postgres on one would end each other."""
        self.lock = self.lock or claim(self.state)
        if self.lock is None:
            raise SystemExit(f"{self.state} is in use. Stop that one with `./dev down`, or choose another --state.")

    def wipe(self) -> None:
        """Forget all data."""
        self.own()
        for entry in self.state.iterdir():
            if entry.name in ("lock", "up.log"):
                continue
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()

    def start_parts(self, only: Iterable[str] | None = None, tell: Callable[[str], None] = lambda _: None) -> None:
        """Start the parts that the environment does not replace; they boot side by side."""
        self.own()
        wanted = [kind for kind in ALL if only is None or kind.name in only]
        needed = [kind for kind in wanted if not any(self.environ.get(name) for name in kind.replaced_by)]
        self.parts = {kind.name: kind(self.state) for kind in needed}
        for part in self.parts.values():
            part.launch()
        for part in self.parts.values():
            part.settle()
            tell(part.title)
        self.env = self._environment()

    def _environment(self) -> dict[str, str]:
        scripts = str(Path(sys.executable).parent)
        secret = self.state / "secret_key"
        if not secret.exists():
            secret.write_text(secrets.token_hex(32))
            secret.chmod(0o600)
        metrics = self.state / "metrics"
        metrics.mkdir(exist_ok=True)
        env = {
            "ENVIRONMENT": "development",
            "SIGNUP_ACCESS_POLICY": "public",
            "SECRET_KEY": secret.read_text(),
            "PYTHONUNBUFFERED": "1",
            "AUTH_KEY_STORAGE_PATH": str(key_file(self.state)),
            "PROMETHEUS_MULTIPROC_DIR": str(metrics),
        }
        for part in self.parts.values():
            env |= part.env()
        env |= {name: value for name, value in self.environ.items() if value}
        path = f"{scripts}{os.pathsep}{self.environ.get('PATH', '')}"
        return env | {"PORT": str(self.port), "PATH": path, "PYTHONPATH": str(ROOT)}

    def run(self, *arguments: str) -> str:
        """Run one of the project's modules to its end; what it printed."""
        done = subprocess.run(
            [sys.executable, *arguments], cwd=ROOT, env=self.env, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"python {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}".rstrip())
        return done.stdout

    def migrate(self) -> None:
        self.run("-m", "models", "migrate", "up")

    def seed(self) -> None:
        """Create the demo account."""
        self.seeded = self.run("-m", "devstack.seed").strip()

    def tenant_id(self) -> str:
        return self.seeded.rsplit(" ", 1)[-1]

    def spawn(self, name: str, **overrides: str) -> Process:
        """Start a process of the Procfile."""
        count = sum(1 for process in self.processes if process.name == name)
        command = f"exec {procfile()[name]}"
        process = Process(command, self.state / "logs" / f"{name}.{count}.log", cwd=ROOT, env=self.env | overrides)
        process.name = name
        self.processes.append(process)
        return process

    def stop(self) -> None:
        """End the processes, then the parts: workers hand back what they run while there is somebody to take it."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(Process.stop, self.processes))
            list(pool.map(lambda part: part.stop(), self.parts.values()))
        self.processes, self.parts = [], {}
        if self.lock is not None:
            self.lock.close()
            self.lock = None
