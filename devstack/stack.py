"""A stack: the embedded parts in one state folder, and the product's processes that use them."""

import fcntl
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO

from devstack.parts import ALL, Part
from devstack.process import Process, free_port

ROOT = Path(__file__).parent.parent
EMAIL, PASSWORD = "demo@example.com", "demo-password-please-change"


def procfile() -> dict[str, str]:
    """{process name: command} of the Procfile."""
    lines = (ROOT / "Procfile").read_text().splitlines()
    pairs = (line.split(":", 1) for line in lines if line.strip() and not line.startswith("#"))
    return {name.strip(): command.strip() for name, command in pairs}


def lock_folder(state: Path) -> IO[bytes] | None:
    """Lock the state folder until the returned file is closed. None if another process has locked it."""
    lock = (state / "lock").open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


def key_file(state: Path) -> Path:
    """The file with the instance's signing keys."""
    return state.resolve() / "keys" / "keyset.json"


def secret_key(state: Path) -> str:
    """The instance's root secret: made once, then read from the state folder."""
    file = state / "secret_key"
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_hex(32))
    return file.read_text()


def _ignore(_: str) -> None:
    pass


def _wait_all(futures: Iterable[Future[None]]) -> None:
    for future in list(futures):
        future.result()


class Stack:
    """`with Stack(folder) as stack: stack.start_parts(); stack.migrate(); stack.spawn("edge")`.

    state     the folder for all data and logs; created if it does not exist
    port      HTTP port of the edge (default: a free one)
    environ   the environment to start from (default: that of this process). A part whose address is in it is not
              started, and its values win over the stack's own
    """

    def __init__(self, state: Path, port: int | None = None, environ: Mapping[str, str] | None = None) -> None:
        self.state = Path(state).resolve()
        os.umask(0o077)  # only this user may read what we and our processes write
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

    def acquire_lock(self) -> None:
        """Lock the state folder: two Postgres servers must not share one. SystemExit if it is in use."""
        self.lock = self.lock or lock_folder(self.state)
        if self.lock is None:
            raise SystemExit(
                f"{self.state} is in use by another process. Stop it with `./dev down`, or choose another --state."
            )

    def wipe(self) -> None:
        """Delete all data in the state folder."""
        self.acquire_lock()
        for entry in self.state.iterdir():
            if entry.name in ("lock", "up.log"):
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    def start_parts(self, only: Iterable[str] | None = None, on_ready: Callable[[str], None] = _ignore) -> None:
        """Start the parts that the environment does not replace, in parallel, and wait for them.

        `only` limits it to these part names. `on_ready` is called with the title of each part that is ready.
        """
        self.acquire_lock()
        names = None if only is None else set(only)
        self.parts = {
            part.name: part(self.state, f"http://127.0.0.1:{self.port}")
            for part in ALL
            if (names is None or part.name in names) and part.is_wanted(self.environ)
        }
        for part in self.parts.values():
            part.launch()
        for part in self.parts.values():
            part.wait_until_ready()
            on_ready(part.title)
        self.env = self._environment()

    def _environment(self) -> dict[str, str]:
        metrics = self.state / "metrics"
        metrics.mkdir(exist_ok=True)
        env = {
            "ENVIRONMENT": "development",
            "SIGNUP_ACCESS_POLICY": "public",
            "ALLOWED_ORIGINS": f"http://localhost:3000,http://localhost:{self.port}",
            "SECRET_KEY": secret_key(self.state),
            "STATUS_PAGE_URL": f"http://localhost:{self.port}/status",
            "PYTHONUNBUFFERED": "1",
            "AUTH_KEY_STORAGE_PATH": str(key_file(self.state)),
            "PROMETHEUS_MULTIPROC_DIR": str(metrics),
        }
        for part in self.parts.values():
            env |= part.env()
        env |= {name: value for name, value in self.environ.items() if value}
        path = f"{Path(sys.executable).parent}{os.pathsep}{self.environ.get('PATH', '')}"
        return env | {"PORT": str(self.port), "PATH": path, "PYTHONPATH": str(ROOT)}

    def run(self, *arguments: str) -> str:
        """Run `python <arguments>` in the stack's environment; return its stdout. SystemExit if it fails."""
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=ROOT, env=self.env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"python {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}".rstrip())
        return done.stdout

    def check_catalogue(self) -> None:
        """SystemExit with all faults of the agents, tools, workflows and models: no process would start with them."""
        self.run("-m", "workers.agents")

    def migrate(self) -> None:
        """Bring the database schema up to date, and with billing what Stripe sells."""
        self.run("-m", "models", "migrate", "up")
        if self.env.get("ENABLE_BILLING", "").lower() in ("1", "true", "on", "yes") and not self._has_live_key:
            self.run("-m", "workers.billing", "plans", "sync")

    @property
    def _has_live_key(self) -> bool:
        """Whether money would be real: then only a person brings Stripe in line."""
        return "_live_" in self.env.get("STRIPE_SECRET_KEY", "")

    def seed(self) -> str:
        """Create the demo account unless it exists; return its tenant's id."""
        return self.run("-m", "devstack.seed").strip()

    def env_of(self, name: str) -> dict[str, str]:
        """The environment of a process of the Procfile. Only the edge signs tokens; the others get no keys."""
        return self.env if name == "edge" else self.env | {"AUTH_KEY_STORAGE_PATH": os.devnull}

    def spawn(self, name: str, **overrides: str) -> Process:
        """Start a process of the Procfile. `overrides` are added to its environment."""
        env = self.env_of(name) | overrides
        count = sum(process.name == name for process in self.processes)
        log = self.state / "logs" / f"{name}.{count}.log"
        process = Process(f"exec {procfile()[name]}", log, name=name, cwd=ROOT, env=env)
        self.processes.append(process)
        return process

    def stop(self) -> None:
        """Stop the processes, then the parts, so that workers can still hand back the jobs they are running."""
        with ThreadPoolExecutor() as pool:
            _wait_all(pool.submit(process.stop) for process in self.processes)
            _wait_all(pool.submit(part.stop) for part in self.parts.values())
        self.processes, self.parts = [], {}
        if self.lock is not None:
            self.lock.close()
            self.lock = None
