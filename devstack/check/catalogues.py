"""The agents' catalogue and the service accounts' catalogue load, and agree with the code that they speak of."""

import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from devstack.check.tree import defining

# Scopes that clients were promised and no route of ours asks for.
PROMISED = ("chat:write",)


def find(root: Path) -> list[str]:
    return [*agents(), *tools(root), *accounts(root)]


def agents() -> Iterator[str]:
    """Loading the catalogue checks hand-offs, tools and prompts; the rest is checked here."""
    from workers.agents.catalog import catalog

    reachable = {catalog().default.key, *(key for agent in catalog().agents.values() for key in agent.handoffs)}
    yield from (f"nothing leads to the agent {key}" for key in sorted(catalog().agents.keys() - reachable))
    for agent in catalog().agents.values():
        if not agent.description:
            yield f"the agent {agent.key} has no description"


def tools(root: Path) -> Iterator[str]:
    """Every function tool that is declared is implemented with the arguments that it declares, and the reverse."""
    from workers.agents.catalog import catalog

    functions = import_module(defining(root, "workers/agents", "call")).FUNCTIONS
    declared = {name: tool.parameters for name, tool in catalog().tools.items() if tool.hosted is None}
    for name in sorted(declared.keys() | functions.keys()):
        if name not in functions:
            yield f"the tool {name} is declared and not implemented"
        elif name not in declared:
            yield f"the tool {name} is implemented and not declared"
        elif (said := _properties(declared[name])) != (taken := _arguments(functions[name])):
            yield f"the tool {name} declares {said} and takes {taken}"


def _properties(schema: dict[str, Any] | None) -> list[str]:
    return sorted((schema or {}).get("properties", {}))


def _arguments(function: Any) -> list[str]:
    return sorted(list(inspect.signature(function).parameters)[1:])  # the first one is the context


def accounts(root: Path) -> Iterator[str]:
    """Loading the catalogue checks its shape; that its scopes are ones which somebody can ask for is checked here."""
    principal = import_module(defining(root, "models", "Principal"))
    scopes = {*principal.MANAGE, *principal.OPERATOR, *PROMISED}
    families = {scope.split(":")[0] for scope in scopes}
    catalogue = import_module(defining(root, "models", "catalogue")).catalogue()
    for name, account in catalogue.items():
        for scope in account.scopes:
            family, verb = scope.split(":")
            if scope not in scopes and not (verb == "*" and family in families):
                yield f"the service account {name} has the scope {scope}, which nothing asks for"
