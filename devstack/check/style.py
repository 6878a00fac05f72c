"""ruff: the formatter, and the rules in ruff.toml."""

from pathlib import Path

from devstack.check.tool import lines_of, problems_of


def find(root: Path) -> list[str]:
    unformatted = problems_of(root, "ruff", "format", "--check", "--output-format", "concise", ".")
    broken = problems_of(root, "ruff", "check", "--output-format", "concise", ".")
    return [line for line in unformatted + broken if ": " in line]


def fix(root: Path) -> None:
    lines_of(root, "ruff", "check", "--fix", ".")
    lines_of(root, "ruff", "format", ".")
