"""The FastAPI peer's own Python environment, created on first use and rebuilt when its requirements change."""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from devstack.stack import ROOT

REQUIREMENTS = Path(__file__).parent / "requirements.txt"
FOLDER = ROOT / ".venv" / "bench-peer"  # not in var/, because `./dev up --fresh` empties it
INSTALL_SECONDS = 600


class PeerUnavailable(Exception):
    """The peer cannot be measured. The message gives the reason."""


def python() -> Path:
    """The interpreter with the peer's packages. Raises PeerUnavailable if they cannot be installed."""
    FOLDER.parent.mkdir(parents=True, exist_ok=True)
    with FOLDER.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # if two start at once, one installs and the other waits
        if not _installed():
            _install()
    return FOLDER / "bin" / "python"


def _fingerprint() -> str:
    return hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()


def _installed() -> bool:
    stamp = FOLDER / "installed"
    return stamp.exists() and stamp.read_text() == _fingerprint()


def _install() -> None:
    print(f"Installing the FastAPI peer into {FOLDER} (once) ...", file=sys.stderr)
    shutil.rmtree(FOLDER, ignore_errors=True)
    pip = [str(FOLDER / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", "-q"]
    _run([sys.executable, "-m", "venv", str(FOLDER)])
    _run([*pip, "-r", str(REQUIREMENTS)])
    (FOLDER / "installed").write_text(_fingerprint())


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerUnavailable(f"the FastAPI peer could not be installed: {error}") from None
    if done.returncode:
        output = (done.stderr or done.stdout).strip().splitlines()
        reason = next(
            (line for line in reversed(output) if line.startswith("ERROR")), output[-1] if output else "no output"
        )
        raise PeerUnavailable(f"the FastAPI peer could not be installed: {reason}")
