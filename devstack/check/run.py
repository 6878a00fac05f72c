"""Runs gates in parallel, each in a separate process, and prints their problems."""

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from devstack.check.gates import GATES, Gate

MAX_LINES = 40  # printed per gate; further problems are only counted


@dataclass(frozen=True, slots=True)
class Result:
    gate: Gate
    problems: list[str]
    seconds: float


def select(names: Sequence[str], *, fast: bool) -> list[Gate]:
    """The gates with these names, or all gates if there are none. SystemExit for an unknown name."""
    if unknown := set(names) - {gate.name for gate in GATES}:
        raise SystemExit(
            f"No gate is named {', '.join(sorted(unknown))}. The gates are: {' '.join(g.name for g in GATES)}."
        )
    return [gate for gate in GATES if (not names or gate.name in names) and (gate.fast or not fast)]


def run(gates: Sequence[Gate], root: Path, *, fix: bool = False, console: Console | None = None) -> int:
    """Print each gate's problems when it finishes, then a summary. Return 1 if there are problems, else 0."""
    console = console or Console(highlight=False, soft_wrap=True)
    if fix:
        for gate in gates:
            gate.fix(root)
    results = []
    with ThreadPoolExecutor(max_workers=max(2, os.cpu_count() or 2)) as pool:
        for future in as_completed([pool.submit(run_gate, gate, root) for gate in gates]):
            results.append(future.result())
            _print_problems(console, results[-1])
    _summarize(console, sorted(results, key=lambda result: gates.index(result.gate)))
    return int(any(result.problems for result in results))


def run_gate(gate: Gate, root: Path) -> Result:
    """Run a gate in a separate process, so that its imports and settings do not affect other gates."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "devstack.check", gate.name],
        cwd=root,
        env={**os.environ, "ENVIRONMENT": "test", "SECRET_KEY": secrets.token_hex(32), "PYTHONPATH": str(root)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        problems = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        problems = [f"the gate itself failed: {(done.stderr or done.stdout).strip()[-2000:]}"]
    return Result(gate, problems, time.monotonic() - began)


def _print_problems(console: Console, result: Result) -> None:
    for line in result.problems[:MAX_LINES]:
        console.print(f"{result.gate.name}: {line}", markup=False)
    if len(result.problems) > MAX_LINES:
        console.print(f"{result.gate.name}: ... and {len(result.problems) - MAX_LINES} more", markup=False)


def _summarize(console: Console, results: Sequence[Result]) -> None:
    table = Table("gate", "problems", "seconds", "what it checks", box=None, header_style="bold")
    for result in results:
        count = str(len(result.problems)) if result.problems else "-"
        style = "red" if result.problems else "green"
        table.add_row(result.gate.name, count, f"{result.seconds:.1f}", result.gate.description, style=style)
    console.print(table)
