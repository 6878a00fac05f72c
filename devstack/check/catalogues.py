"""The catalogues of agents, workflows, service accounts, plans and services load and match the code."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import get_args

from devstack.check.tree import defining

# Scopes that clients may have although no route requires them.
UNUSED_SCOPES = ("chat:write",)


def find(root: Path) -> list[str]:
    return [*loading(), *accounts(root), *packaged(root, "PlanFile"), *packaged(root, "ServicesFile"), *queues(root)]


def loading() -> list[str]:
    """What no process would start with, and workflows that clients are not told of."""
    from workers.agents.catalog import catalog
    from workers.workflows.catalog import workflows

    try:
        catalog()
        found = workflows().by_key
    except SystemExit as refusal:
        return str(refusal).splitlines()
    return [f"the workflow {key} has no description" for key, each in found.items() if not each.description]


def accounts(root: Path) -> Iterator[str]:
    """Loading the catalogue checks its structure. This checks that its scopes exist."""
    principal = import_module(defining(root, "models", "Principal"))
    scopes = {*principal.MANAGE, *principal.OPERATOR, *UNUSED_SCOPES}
    families = {scope.split(":")[0] for scope in scopes}
    catalogue = import_module(defining(root, "models", "catalogue")).catalogue()
    for name, account in catalogue.items():
        for scope in account.scopes:
            family, verb = scope.split(":")
            if scope not in scopes and not (verb == "*" and family in families):
                yield f"the service account {name} has the scope {scope}, which does not exist"


def packaged(root: Path, model: str) -> list[str]:
    """The packaged file of plans or services, which the module that defines `model` reads."""
    module = import_module(defining(root, "models", model))
    try:
        module.read(module.PACKAGED)
    except SystemExit as refusal:
        return str(refusal).splitlines()
    return []


def queues(root: Path) -> Iterator[str]:
    """Probes may watch every queue, and no others. Models cannot import the list of the workers."""
    from workers.jobs import QUEUES

    known = get_args(import_module(defining(root, "models", "ServicesFile")).Queue)
    yield from (f"probes of services know the queue {name}, or jobs do, but not both" for name in {*known} ^ {*QUEUES})
