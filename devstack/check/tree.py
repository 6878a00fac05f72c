"""The project's source files. Gates find modules by searching, so that modules can be moved."""

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

PRODUCT = ("models", "workers", "edge", "scheduler")
SHIPPED = (*PRODUCT, "devstack")


def sources(root: Path, folders: Iterable[str]) -> list[Path]:
    """The Python files below some folders, in order."""
    return sorted(path for folder in folders for path in (root / folder).rglob("*.py"))


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def dotted(root: Path, path: Path) -> str:
    """The module name of a file."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def defining(root: Path, folder: str, name: str) -> str:
    """The only module below a folder that defines this name at its top level."""
    modules = [dotted(root, path) for path in sources(root, [folder]) if name in _defined(parsed(path))]
    if len(modules) != 1:
        raise LookupError(
            f"Expected one module below {folder}/ that defines {name}, found {', '.join(modules) or 'none'}."
        )
    return modules[0]


def _defined(module: ast.Module) -> Iterator[str]:
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """(line, module) of every import that is not relative."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module
