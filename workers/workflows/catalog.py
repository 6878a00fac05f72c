"""The workflows of this process. It only declares and runs nothing, so that the edge may read it too."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from models.platform.errors import NotFound
from workers.agents import files, reading
from workers.agents.catalog import Catalog, catalog
from workers.agents.files import Declared
from workers.workflows import checks
from workers.workflows.declarations import Stage, Step, Workflow

__all__ = ["Stage", "Step", "Workflow", "WorkflowNotFound", "Workflows", "workflows"]
log = logging.getLogger(__name__)


class WorkflowNotFound(NotFound):
    code = "workflow_not_found"

    def __init__(self, key: str) -> None:
        super().__init__(f"Workflow '{key[:64]}' not found")


class Workflows:
    """Workflows by key, sorted. ValueError that lists all faults."""

    def __init__(self, declared: Mapping[str, Workflow], agents: Catalog) -> None:
        self.by_key = dict(sorted(declared.items()))
        faults = [
            f"workflow {key}: {fault}"
            for key, each in self.by_key.items()
            for fault in checks.faults(each, agents.agents)
        ]
        if sum(workflow.default for workflow in self.by_key.values()) > 1:
            faults.append("more than one workflow is the default")
        if faults:
            raise ValueError("\n".join(faults))

    def get(self, key: str) -> Workflow:
        """The workflow with this key. WorkflowNotFound."""
        workflow = self.by_key.get(key)
        if workflow is None:
            raise WorkflowNotFound(key)
        return workflow


class Built(NamedTuple):
    agents: Catalog
    version: reading.Version
    roots: list[Path]
    workflows: Workflows


_built: list[Built] = []  # the newest, if there is one


def workflows() -> Workflows:
    """The workflows that the files describe. SystemExit with all faults if they cannot work. Cheap to call.

    In development, files that have changed are read again. If they have faults then, the workflows stay what they were.
    """
    agents, version, roots = catalog(), reading.version(), reading.roots()
    last = _built[0] if _built else None
    if last and last.agents is agents and last.version == version and last.roots == roots:
        return last.workflows
    try:
        found = _read(agents, roots)
    except ValueError as error:
        if last is None or last.roots != roots:
            raise SystemExit(str(error)) from None
        log.error("workflows.faulty", extra={"faults": str(error).splitlines()})  # noqa: TRY400  (not ours to trace)
        found = last.workflows
    _built[:] = [Built(agents, version, roots, found)]
    return found


def _read(agents: Catalog, roots: list[Path]) -> Workflows:
    """What the files declare. ValueError that lists all faults."""
    declared: dict[str, Declared[Workflow]] = {}
    faults: list[str] = []
    for root in roots:
        found, faulty = files.read(root / "workflows", Workflow, lambda workflow: workflow.key)
        faults += faulty
        if any(each.value.default for each in found.values()):  # one's own default replaces the bundled one
            declared = {key: replace(each, value=replace(each.value, default=False)) for key, each in declared.items()}
        declared |= found
    faults += _faults(declared, agents)
    if faults:
        raise ValueError("\n".join(faults))
    return Workflows({key: each.value for key, each in declared.items()}, agents)


def _faults(declared: Mapping[str, Declared[Workflow]], agents: Catalog) -> Iterator[str]:
    for key, each in declared.items():
        yield from (f"{each.at()}: workflow {key}: {fault}" for fault in checks.faults(each.value, agents.agents))
