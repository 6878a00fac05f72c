"""mypy in strict mode, on the `files` in setup.cfg."""

from pathlib import Path

from devstack.check.tool import problems_of


def find(root: Path) -> list[str]:
    problems = problems_of(root, "mypy", "--no-error-summary", "--no-pretty")
    return [line for line in problems if ": note: " not in line]
