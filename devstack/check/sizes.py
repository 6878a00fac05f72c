"""Files and functions are not too long."""

import ast
from pathlib import Path
from statistics import median

from devstack.check.tree import SHIPPED, parsed, sources

FILE, TYPICAL_FILE, FUNCTION = 400, 120, 60


def find(root: Path) -> list[str]:
    shipped = sources(root, SHIPPED)
    every = shipped + sources(root, ["tests"])
    lengths = {path: len(path.read_text().splitlines()) for path in every}
    long = [f"{path.relative_to(root)} has {lengths[path]} lines" for path in every if lengths[path] > FILE]
    middle = median([lengths[path] for path in shipped if lengths[path]] or [0])
    typical = [f"half of the shipped files have more than {middle:g} lines"] if middle > TYPICAL_FILE else []
    return long + typical + [line for path in every for line in _functions(root, path)]


def _functions(root: Path, path: Path) -> list[str]:
    return [
        f"{path.relative_to(root)}:{node.lineno} {node.name} has {length} lines"
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION
    ]
