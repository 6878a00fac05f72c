"""The catalogues of agents, workflows and service accounts load and match the code."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from devstack.check.tree import defining

# Scopes that clients may have although no route requires them.
UNUSED_SCOPES = ("chat:write",)


def find(root: Path) -> list[str]:
    return [*agents(), *workflows(), *accounts(root)]


def agents() -> Iterator[str]:
    """Loading the catalogue finds what cannot work. This finds what is of no use."""
    from workers.agents.catalog import catalog

    agents = catalog().agents.values()
    reachable = {catalog().default.key, *(handoff.agent for agent in agents for handoff in agent.targets)}
    reachable.update(key for agent in agents for key in agent.agent_tools)
    yield from (f"no agent hands off to the agent {agent.key}" for agent in agents if agent.key not in reachable)


def workflows() -> Iterator[str]:
    """Loading the catalogue finds what cannot work. This finds what clients are not told."""
    from workers.workflows.catalog import workflows

    yield from (
        f"the workflow {key} has no description" for key, each in workflows().by_key.items() if not each.description
    )


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
