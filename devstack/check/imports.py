"""Which modules may import which: import-linter's contracts, and rules that contracts cannot express."""

import ast
import configparser
from pathlib import Path

from devstack.check.tool import lines_of
from devstack.check.tree import PRODUCT, dotted, imported, parsed, sources

# All other modules enqueue a job: the row is stored first, and the message is sent after the commit.
SENDERS = {"workers.jobs", "workers.broker"}


def find(root: Path) -> list[str]:
    return contracts(root) + homes(root) + senders(root)


def contracts(root: Path) -> list[str]:
    """The broken contracts of .importlinter, with the imports that break them."""
    code, lines = lines_of(root, "lint-imports", "--no-logo", "--no-cache")
    if not code:
        return []
    broken = lines[lines.index("Broken contracts") + 1 :] if "Broken contracts" in lines else lines
    return [line.strip("- ") for line in broken if line.strip("- ")]


def homes(root: Path) -> list[str]:
    """Libraries imported outside the packages listed in [homes]."""
    config = configparser.ConfigParser()
    config.read(root / ".importlinter")
    allowed = {name: [home.strip() for home in text.split(",")] for name, text in config["homes"].items()}
    return [
        f"{path.relative_to(root)}:{line} imports {name}, which is allowed only in {', '.join(allowed[library])}"
        for path in sources(root, PRODUCT)
        for line, name in imported(path)
        if (library := name.split(".")[0]) in allowed and not _within(dotted(root, path), allowed[library])
    ]


def _within(module: str, packages: list[str]) -> bool:
    return any(f"{module}.".startswith(f"{package}.") for package in packages)


def senders(root: Path) -> list[str]:
    return [
        f"{path.relative_to(root)}:{node.lineno} sends a message directly instead of enqueuing a job"
        for path in sources(root, PRODUCT)
        if dotted(root, path) not in SENDERS
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("broker.enqueue", "broker.broker.enqueue")
    ]
