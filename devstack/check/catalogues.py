"""The catalogues of agents and service accounts load and match the code."""

import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from devstack.check.tree import defining

# Scopes that clients may have although no route requires them.
UNUSED_SCOPES = ("chat:write",)


def find(root: Path) -> list[str]:
    return [*agents(), *tools(root), *accounts(root)]


def agents() -> Iterator[str]:
    """Loading the catalogue checks hand-offs, tools and prompts. This checks the rest."""
    from workers.agents.catalog import catalog

    reachable = {catalog().default.key, *(key for agent in catalog().agents.values() for key in agent.handoffs)}
    yield from (f"no agent hands off to the agent {key}" for key in sorted(catalog().agents.keys() - reachable))
    for agent in catalog().agents.values():
        if not agent.description:
            yield f"the agent {agent.key} has no description"


def tools(root: Path) -> Iterator[str]:
    """Every declared function tool is implemented with the declared arguments, and every implemented tool is declared."""
    from workers.agents.catalog import catalog

    functions = import_module(defining(root, "workers/agents", "ToolFailed")).FUNCTIONS
    declared = {name: tool.parameters for name, tool in catalog().tools.items() if tool.hosted is None}
    for name in sorted(declared.keys() | functions.keys()):
        if name not in functions:
            yield f"the tool {name} is declared but not implemented"
        elif name not in declared:
            yield f"the tool {name} is implemented but not declared"
        elif (properties := _properties(declared[name])) != (arguments := _arguments(functions[name])):
            yield f"the tool {name} declares the arguments {properties} but takes {arguments}"


def _properties(schema: dict[str, Any] | None) -> list[str]:
    return sorted((schema or {}).get("properties", {}))


def _arguments(function: Any) -> list[str]:
    return sorted(list(inspect.signature(function).parameters)[1:])  # the first argument is the context


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
