"""mypy in strict mode, on what setup.cfg names under `files`."""

from pathlib import Path

from devstack.check.tool import problems_of


def find(root: Path) -> list[str]:
    problems = problems_of(root, "mypy", "--no-error-summary", "--no-pretty")
    return [line for line in problems if ": note: " not in line]
