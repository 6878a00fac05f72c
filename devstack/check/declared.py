"""The dependencies declared in setup.cfg."""

import configparser
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def _parse(text: str) -> list[Requirement]:
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    return [Requirement(line) for line in lines if line]


def requirements(root: Path, extras: Iterable[str] = ()) -> list[Requirement]:
    """The requirements of the product and of some extras."""
    config = configparser.ConfigParser()
    config.read(root / "setup.cfg")
    requirements = _parse(config["options"]["install_requires"])
    for extra in extras:
        requirements += _parse(config["options.extras_require"].get(extra, ""))
    return requirements


def names(root: Path, extras: Iterable[str] = ()) -> set[str]:
    return {canonicalize_name(requirement.name) for requirement in requirements(root, extras)}
