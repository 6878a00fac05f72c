"""The peers' own Python environments, created on first use and rebuilt when their requirements change."""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from devstack.stack import ROOT

# not in var/, because `./dev up --fresh` empties it
ENVIRONMENTS = {
    "": ("the FastAPI peer", "requirements.txt", ROOT / ".venv" / "bench-peer"),
    "vectors": ("LanceDB", "requirements-vectors.txt", ROOT / ".venv" / "bench-peer-vectors"),
}
INSTALL_SECONDS = 600


class PeerUnavailable(Exception):
    """The peer cannot be measured. The message gives the reason."""


def python(name: str = "") -> Path:
    """The interpreter with the packages of an environment. Raises PeerUnavailable if they cannot be installed."""
    title, file, folder = ENVIRONMENTS[name]
    requirements = Path(__file__).parent / file
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # if two start at once, one installs and the other waits
        stamp = folder / "installed"
        wanted = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
        if not stamp.exists() or stamp.read_text() != wanted:
            print(f"Installing {title} into {folder} (once) ...", file=sys.stderr)
            _install(title, requirements, folder)
            stamp.write_text(wanted)
    return folder / "bin" / "python"


def _install(title: str, requirements: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", "-q"]
    _run(title, [sys.executable, "-m", "venv", str(folder)])
    _run(title, [*pip, "-r", str(requirements)])


def _run(title: str, command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerUnavailable(f"{title} could not be installed: {error}") from None
    if done.returncode:
        output = (done.stderr or done.stdout).strip().splitlines()
        reason = next(
            (line for line in reversed(output) if line.startswith("ERROR")), output[-1] if output else "no output"
        )
        raise PeerUnavailable(f"{title} could not be installed: {reason}")
