"""THE GATES: every check on one line. A gate answers with one line per problem, and with nothing when all is well."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType


@dataclass(frozen=True, slots=True)
class Gate:
    """`devstack.check.<module>` has `find(root) -> problems`, and `fix(root)` where `fixes`. `fast`: fit for every commit."""

    name: str
    module: str
    about: str
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
# The slow ones come first: they decide how long the whole takes.
GATES = (
    Gate("types",        "strict_types", "mypy --strict on all that ships", fast=False),
    Gate("migrations",   "migrations",   "up, down and up again, on tables with rows in them", fast=False),
    Gate("jobs",         "jobs",         "every job has an actor, every actor a job, every cron line a job", fast=False),
    Gate("catalogues",   "catalogues",   "agents and service accounts load and agree with the code", fast=False),
    Gate("style",        "style",        "ruff: format and rules", fixes=True),
    Gate("imports",      "imports",      "who may import whom (.importlinter)"),
    Gate("sizes",        "sizes",        "files up to 400 lines, half of them up to 120; functions up to 60"),
    Gate("docs",         "docs",         "links lead somewhere; every setting is documented and no other"),
    Gate("dependencies", "dependencies", "what is imported is declared, what is declared is used"),
    Gate("lock",         "lock",         "the lock files fit setup.cfg"),
)
# fmt: on
