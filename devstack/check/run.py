"""Runs gates side by side, each in a process of its own, and tells what they found."""

import json
import os
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

SHOWN = 40  # problems of one gate; more are counted


@dataclass(frozen=True, slots=True)
class Verdict:
    gate: Gate
    problems: list[str]
    seconds: float


def chosen(names: Sequence[str], *, fast: bool) -> list[Gate]:
    """The gates of these names, all of them for none. SystemExit for a name that no gate has."""
    if unknown := set(names) - {gate.name for gate in GATES}:
        raise SystemExit(f"No gate is named {', '.join(sorted(unknown))}. They are: {' '.join(g.name for g in GATES)}.")
    return [gate for gate in GATES if (not names or gate.name in names) and (gate.fast or not fast)]


def run(gates: Sequence[Gate], root: Path, *, fix: bool = False, console: Console | None = None) -> int:
    """Tell each gate's problems as it ends, and then the summary. 1 if there was any problem."""
    console = console or Console(highlight=False, soft_wrap=True)
    if fix:
        for gate in gates:
            gate.fix(root)
    verdicts = []
    with ThreadPoolExecutor(max_workers=max(2, os.cpu_count() or 2)) as pool:
        for future in as_completed([pool.submit(judge, gate, root) for gate in gates]):
            verdicts.append(future.result())
            _tell(console, verdicts[-1])
    _summarize(console, sorted(verdicts, key=lambda verdict: gates.index(verdict.gate)))
    return int(any(verdict.problems for verdict in verdicts))


def judge(gate: Gate, root: Path) -> Verdict:
    """Run one gate in a process of its own: what it imports and sets must not reach another."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "devstack.check", gate.name],
        cwd=root,
        env={**os.environ, "ENVIRONMENT": "test", "PYTHONPATH": str(root)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        problems = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        problems = [f"the gate itself failed: {(done.stderr or done.stdout).strip()[-2000:]}"]
    return Verdict(gate, problems, time.monotonic() - began)


def _tell(console: Console, verdict: Verdict) -> None:
    for line in verdict.problems[:SHOWN]:
        console.print(f"{verdict.gate.name}: {line}", markup=False)
    if len(verdict.problems) > SHOWN:
        console.print(f"{verdict.gate.name}: ... and {len(verdict.problems) - SHOWN} more", markup=False)


def _summarize(console: Console, verdicts: Sequence[Verdict]) -> None:
    table = Table("gate", "problems", "seconds", "what it looks at", box=None, header_style="bold")
    for verdict in verdicts:
        count = str(len(verdict.problems)) if verdict.problems else "-"
        style = "red" if verdict.problems else "green"
        table.add_row(verdict.gate.name, count, f"{verdict.seconds:.1f}", verdict.gate.about, style=style)
    console.print(table)
