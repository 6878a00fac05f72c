"""The FastAPI peer's own Python environment, made on first use and again when its requirements change."""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from devstack.stack import ROOT

REQUIREMENTS = Path(__file__).parent / "requirements.txt"
FOLDER = ROOT / ".venv" / "bench-peer"  # not in var/: `./dev up --fresh` empties that one
INSTALL_SECONDS = 600


class PeerUnavailable(Exception):
    """The peer cannot be measured here. The text says why."""


def python() -> Path:
    """The interpreter that has the peer's packages; PeerUnavailable when they cannot be installed."""
    FOLDER.parent.mkdir(parents=True, exist_ok=True)
    with FOLDER.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of two first uses at once, one installs and the other waits
        if not _installed():
            _install()
    return FOLDER / "bin" / "python"


def _wanted() -> str:
    return hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()


def _installed() -> bool:
    stamp = FOLDER / "installed"
    return stamp.exists() and stamp.read_text() == _wanted()


def _install() -> None:
    print(f"Installing the FastAPI peer into {FOLDER} (once) ...", file=sys.stderr)
    shutil.rmtree(FOLDER, ignore_errors=True)
    pip = [str(FOLDER / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", "-q"]
    _run([sys.executable, "-m", "venv", str(FOLDER)])
    _run([*pip, "-r", str(REQUIREMENTS)])
    (FOLDER / "installed").write_text(_wanted())


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerUnavailable(f"the FastAPI peer could not be installed: {error}") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        reason = next((line for line in reversed(said) if line.startswith("ERROR")), said[-1] if said else "no output")
        raise PeerUnavailable(f"the FastAPI peer could not be installed: {reason}")
