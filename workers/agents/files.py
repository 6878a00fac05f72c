"""Declarations from files: each file declares one thing, and is named like it.

A file whose name begins with _ is not read. The others are run anew whenever the catalogue is built.
"""

import ast
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Faulty(Exception):
    """A file that declares nothing usable; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Declared(Generic[T]):
    """`lines`: where its fields are written, by name; "" is the declaration itself."""

    value: T
    path: Path
    lines: dict[str, int]

    def at(self, field: str | None = None) -> str:
        """path:line of a field."""
        return f"{self.path}:{self.lines.get(field or '', self.lines[''])}"


def read(folder: Path, kind: type[T], name_of: Callable[[T], str]) -> tuple[dict[str, Declared[T]], list[str]]:
    """What the files of a folder declare, by name, and a line for each file that cannot be used. Empty without the folder."""
    found, faults = {}, []
    for path in sorted(folder.glob("*.py")):
        if path.name.startswith("_"):
            continue
        try:
            declared = _declared(path, kind)
            if (name := name_of(declared.value)) != path.stem:
                raise Faulty(f"{declared.at()}: declares {name}: call the file {name}.py")
            found[name] = declared
        except Faulty as fault:
            faults.append(str(fault))
    return found, faults


def _declared(path: Path, kind: type[T]) -> Declared[T]:
    try:
        text = path.read_text()
        tree = ast.parse(text, str(path))
        values = _run(path, compile(text, str(path), "exec"))
    except (OSError, ValueError) as error:
        raise Faulty(f"{path}:1: {error}") from None
    except SyntaxError as error:
        raise Faulty(f"{path}:{error.lineno or 1}: {error.msg}") from None
    found = [(value, node) for name, node in _definitions(tree) if isinstance(value := values.get(name), kind)]
    if len(found) != 1:
        line = found[1][1].lineno if found else 1
        what = "declares two" if found else "declares none"
        raise Faulty(f"{path}:{line}: {what}: one {kind.__name__} per file")
    value, node = found[0]
    return Declared(value, path, _lines(node, kind))


def _run(path: Path, code: types.CodeType) -> dict[str, Any]:
    """The names that the file defines. Not imported: that might take an older, compiled file for it."""
    module = types.ModuleType(f"catalogue.{path.parent.name}.{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses and annotations look their module up
    try:
        exec(code, module.__dict__)  # noqa: S102 - the operator's own code, like any module
    except (Exception, SystemExit) as error:
        frames = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        raise Faulty(f"{path}:{frames[-1]}: {type(error).__name__}: {error}") from error
    return vars(module)


def _definitions(tree: ast.Module) -> Iterator[tuple[str, ast.stmt]]:
    """The names that are defined at the top of a file, but not those that it imports."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node
        elif isinstance(node, ast.Assign):
            yield from ((target.id, node) for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, node


def _lines(node: ast.stmt, kind: type[Any]) -> dict[str, int]:
    lines = {"": node.lineno}
    calls = node.decorator_list if isinstance(node, ast.FunctionDef) else [getattr(node, "value", None)]
    for call in calls:
        if isinstance(call, ast.Call):
            if not isinstance(node, ast.FunctionDef):
                lines |= {field.name: arg.lineno for field, arg in zip(fields(kind), call.args, strict=False)}
            lines |= {keyword.arg: keyword.value.lineno for keyword in call.keywords if keyword.arg}
    return lines
