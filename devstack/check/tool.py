"""Runs the external tools that some gates use."""

import os
import subprocess
import sys
from pathlib import Path


def lines_of(root: Path, name: str, *arguments: str) -> tuple[int, list[str]]:
    """Run a tool from this environment. Returns its exit code and its output, line by line."""
    done = subprocess.run(
        [Path(sys.executable).with_name(name), *arguments],
        cwd=root,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, [line.rstrip() for line in done.stdout.splitlines() if line.strip()]


def problems_of(root: Path, name: str, *arguments: str) -> list[str]:
    """The tool's output if it failed, else an empty list."""
    code, lines = lines_of(root, name, *arguments)
    return (lines or [f"{name} failed with exit code {code}"]) if code else []
