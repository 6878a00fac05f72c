"""The lock files: exact versions with hashes of all direct and indirect dependencies in setup.cfg."""

import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.utils import canonicalize_name

from devstack.check.declared import requirements
from devstack.check.tool import lines_of

FILES: dict[str, tuple[str, ...]] = {
    "requirements.lock": (),
    "requirements-otel.lock": ("otel",),  # for an image that can send traces
    "requirements-dev.lock": ("dev", "otel"),
}
PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)")
HEADER = "# Made by `./dev lock` from setup.cfg; for every platform and Python from 3.11.\n"


def find(root: Path) -> list[str]:
    missing = [f"{name} is missing: run ./dev lock" for name in FILES if not (root / name).exists()]
    return missing or [line for name, extras in FILES.items() for line in mismatches(root, name, extras)]


def mismatches(root: Path, name: str, extras: Iterable[str]) -> Iterator[str]:
    text = (root / name).read_text()
    locked = pins(text)
    for requirement in requirements(root, extras):
        versions = locked.get(canonicalize_name(requirement.name), set())
        if not versions:
            yield f"{name} has no {requirement.name}: run ./dev lock"
        elif not all(requirement.specifier.contains(version, prereleases=True) for version in versions):
            yield f"{name} has {requirement.name} {', '.join(sorted(versions))}, but setup.cfg requires {requirement.specifier}"
    if "://" in text:
        yield f"{name} contains a URL: a lock file must work with any package index"
    yield from (f"{name}: {pin} has no hash" for pin in unhashed(text))


def pins(text: str) -> dict[str, set[str]]:
    """{name: versions}. A package has several versions if they differ by platform."""
    pinned: dict[str, set[str]] = {}
    for line in text.splitlines():
        if match := PIN.match(line):
            pinned.setdefault(canonicalize_name(match[1]), set()).add(match[2])
    return pinned


def unhashed(text: str) -> Iterator[str]:
    entries = re.split(r"\n(?=\S)", text)
    yield from (match[0] for entry in entries if (match := PIN.match(entry)) and "--hash=sha256:" not in entry)


def write(root: Path, *, upgrade: bool = False) -> list[str]:
    """Write the lock files. Versions that still match setup.cfg are kept unless `upgrade` is set."""
    problems: list[str] = []
    for name, extras in FILES.items():
        draft = root / f".{name}.new"
        if (root / name).exists() and not upgrade:
            shutil.copy(root / name, draft)
        problems += _compile(root, draft, extras)
        if draft.exists() and not problems:
            (root / name).write_text(HEADER + draft.read_text().removeprefix(HEADER))
        draft.unlink(missing_ok=True)
    return problems


def _compile(root: Path, output: Path, extras: Iterable[str]) -> list[str]:
    options = ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-header", "--no-emit-index-url"]
    options += [f"--extra={extra}" for extra in extras]
    options += ["--no-emit-find-links", "--no-annotate", "--quiet", "--output-file", output.name]
    code, lines = lines_of(root, "uv", "pip", "compile", "setup.cfg", *options)
    return (lines or [f"uv failed with exit code {code}"]) if code else []
