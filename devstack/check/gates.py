"""THE GATES, one per line. A gate returns one line per problem, and an empty list if there are none."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType


@dataclass(frozen=True, slots=True)
class Gate:
    """`devstack.check.<module>` has `find(root) -> problems`, and `fix(root)` if `fixes`. `fast`: quick enough for every commit."""

    name: str
    module: str
    description: str
    fast: bool = True
    fixes: bool = False

    def find(self, root: Path) -> list[str]:
        find: Callable[[Path], list[str]] = self._module().find
        return find(root)

    def fix(self, root: Path) -> None:
        if self.fixes:
            self._module().fix(root)

    def _module(self) -> ModuleType:
        return import_module(f"devstack.check.{self.module}")


# fmt: off
# Slow gates come first, because they determine the total time.
GATES = (
    Gate("types",        "strict_types", "mypy --strict on everything that ships", fast=False),
    Gate("migrations",   "migrations",   "up, down and up again, on tables with rows in them", fast=False),
    Gate("jobs",         "jobs",         "every job has an actor, every actor and every cron line has a job", fast=False),
    Gate("catalogues",   "catalogues",   "the catalogues of agents, service accounts and plans load and match the code", fast=False),
    Gate("deployment",   "deployment",   "docker-compose.yml: safe settings, least rights, pinned images", fast=False),
    Gate("style",        "style",        "ruff format and ruff check", fixes=True),
    Gate("imports",      "imports",      "which modules may import which (.importlinter)"),
    Gate("sizes",        "sizes",        "files up to 400 lines, half of them up to 120; functions up to 60"),
    Gate("docs",         "docs",         "links work; every setting is documented, and no others"),
    Gate("dependencies", "dependencies", "every import is declared, every declared package is used"),
    Gate("lock",         "lock",         "the lock files match setup.cfg"),
)
# fmt: on
