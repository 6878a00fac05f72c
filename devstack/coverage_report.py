"""`./dev coverage`: the tests once more, with the lines and branches that they reach, folder by folder."""

import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from devstack.stack import ROOT

COUNTED = ("num_statements", "covered_lines", "num_branches", "covered_branches")


def run(arguments: Sequence[str]) -> int:
    """Pytest's exit code."""
    command = [sys.executable, "-m", "pytest", "--cov", "--cov-branch", "--cov-report=", *arguments]
    code = subprocess.run(command, cwd=ROOT, check=False).returncode
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        subprocess.run([sys.executable, "-m", "coverage", "json", "-q", "-o", file.name], cwd=ROOT, check=True)
        show(folders(json.loads(Path(file.name).read_text())["files"]))
    return code


def folders(files: dict[str, dict[str, dict[str, int]]]) -> dict[str, Counter[str]]:
    """The sums of each folder, `models/jobs` as well as `models`, and of all."""
    sums: dict[str, Counter[str]] = {}
    for name, facts in files.items():
        counts = Counter({key: facts["summary"][key] for key in COUNTED})
        for parent in (*Path(name).parents,):
            sums.setdefault("all" if parent == Path() else str(parent), Counter()).update(counts)
    return dict(sorted(sums.items()))


def show(sums: dict[str, Counter[str]]) -> None:
    table = Table("folder", "lines", "reached", "branches", "reached", box=None, header_style="bold")
    for folder, counts in sums.items():
        statements, lines, branches, taken = (counts[key] for key in COUNTED)
        table.add_row(folder, str(statements), _percent(lines, statements), str(branches), _percent(taken, branches))
    Console(highlight=False).print(table)


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"
