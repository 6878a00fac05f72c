"""The import rules of docs/architecture.md, checked against the sources."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = ("models", "workers", "edge", "scheduler", "devstack")
ALLOWED = {
    "models": {"models"},
    "workers": {"models", "workers"},
    "edge": {"models", "edge", "workers.jobs", "workers.broker", "workers.agents.catalog", "workers.gateways"},
    "scheduler": {"models", "scheduler", "workers.jobs", "workers.broker"},
    "devstack": set(OURS),
}


def imports_of(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("folder", OURS)
def test_a_folder_imports_only_what_the_architecture_allows(folder):
    allowed = ALLOWED[folder]
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources(folder)
        for name in imports_of(path)
        if name.split(".")[0] in OURS and not any(f"{name}.".startswith(f"{rule}.") for rule in allowed)
    ]
    assert not wrong


@pytest.mark.parametrize(
    ("library", "places"),
    [
        ("openai", {"workers/agents/provider.py"}),
        ("stripe", set()),
        ("psycopg2", {"models/platform/database.py"}),
    ],
)
def test_a_library_is_imported_only_in_its_own_place(library, places):
    users = {
        str(path.relative_to(ROOT))
        for folder in ("models", "workers", "edge", "scheduler")
        for path in sources(folder)
        if any(name.split(".")[0] == library for name in imports_of(path))
    }
    assert users <= places


def test_only_the_job_table_and_the_broker_send_messages():
    senders = {
        str(path.relative_to(ROOT))
        for folder in OURS[:4]
        for path in sources(folder)
        if ".rpush(key(" in path.read_text() or "broker.enqueue(" in path.read_text()
    }
    assert senders == {"workers/broker.py", "workers/jobs.py"}
