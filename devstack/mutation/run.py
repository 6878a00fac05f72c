"""Mutates one module in a copy of the project, runs its tests against each mutant, and prints the survivors."""

import configparser
import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from devstack.check.tool import lines_of
from devstack.check.tree import SHIPPED, defining
from devstack.mutation.slots import SLOTS
from devstack.parts.postgres import Postgres
from devstack.process import Process
from devstack.stack import ROOT, Stack

CHILDREN = 2
PRELOADED = ("argon2", "cryptography", "dramatiq", "falcon", "gevent", "peewee", "psycopg2.extras", "pydantic", "redis")


@dataclass(frozen=True, slots=True)
class Target:
    """The module below `folder` that defines `name`, and its tests."""

    folder: str
    name: str
    tests: tuple[str, ...]

    def path(self) -> str:
        return defining(ROOT, self.folder, self.name).replace(".", "/") + ".py"

    def test_files(self) -> list[str]:
        test_paths = {str(path.relative_to(ROOT)) for pattern in self.tests for path in ROOT.glob(f"tests/{pattern}")}
        return sorted(test_paths)


TARGETS = {
    "authorization": Target("models", "may", ("models/**/test_authorization*.py", "models/**/test_tenant_scoping*.py")),
    "ledger": Target("models", "LeaseLost", ("models/**/test_jobs*.py", "models/**/test_ledger*.py")),
    "hub": Target("edge", "Hub", ("edge/**/test_hub*.py", "edge/**/test_relay*.py")),
    "recovery": Target("models", "take_unclaimed", ("models/**/test_ledger*.py", "models/**/test_recovery*.py")),
    "relay": Target("edge", "Body", ("edge/**/test_relay*.py",)),
}


def mutate(name: str, state: Path, minutes: float, only: str | None = None) -> int:
    """Test mutants for at most `minutes`, and print each survivor as a diff. Return 1 if there are any, else 0."""
    if name not in TARGETS:
        raise SystemExit(f"Unknown module {name}. Choose from: {', '.join(TARGETS)}.")
    with Stack(state / "servers", environ={**os.environ, "ENVIRONMENT": "test"}) as stack:
        stack.start_parts(only=("postgres", "valkey"))
        copy = _copy(TARGETS[name], state / "project")
        slots = _slots(stack, state)
        env = {**stack.env, SLOTS: str(slots), "PYTHONPATH": ".", "ENVIRONMENT": "test"}
        command = [str(Path(sys.executable).with_name("mutmut")), "run", f"--max-children={CHILDREN}"]
        command += [f"*{only}*"] if only else []
        mutmut = Process(command, state / "mutmut.log", cwd=copy, env=env)
        try:
            code = mutmut.wait(60 * minutes)
        except subprocess.TimeoutExpired:
            code = 0
        finally:
            mutmut.stop()
    if code:
        raise SystemExit(f"mutmut failed:\n{mutmut.tail(40)}")
    return _survivors(copy)


def _copy(target: Target, copy: Path) -> Path:
    """Copy the project, because mutmut writes into the folder in which it runs."""
    shutil.rmtree(copy, ignore_errors=True)
    skip = shutil.ignore_patterns("__pycache__")
    for folder in (*SHIPPED, "tests"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=skip)
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    pytest = config["tool:pytest"]
    pytest["addopts"] = "-q -x -p devstack.mutation.slots"
    source = target.path().split("/")[0]
    config["mutmut"] = {
        "source_paths": source,
        "only_mutate": target.path(),
        # Connections do not survive a fork, so only libraries are imported before it.
        "process_isolation": "forkserver",
        "forkserver_warmup": "import",
        "preload_modules_file": "preload.txt",
        "timeout_constant": "20",  # so that a slow start on a busy machine does not count as a killed mutant
        "also_copy": "\n" + "\n".join(folder for folder in SHIPPED if folder != source),
        "pytest_add_cli_args_test_selection": "\n" + "\n".join(target.test_files()),
    }
    (copy / "preload.txt").write_text("\n".join(PRELOADED))
    with (copy / "setup.cfg").open("w") as file:
        config.write(file)
    return copy


def _slots(stack: Stack, state: Path) -> Path:
    """One migrated database and one lock per child process, plus one of each for the initial test run."""
    folder = state / "slots"
    folder.mkdir(exist_ok=True)
    server, url = cast(Postgres, stack.parts["postgres"]), stack.env["DATABASE_URL"]
    databases = {name for (name,) in server.execute("select datname from pg_database")}
    for number in range(CHILDREN + 1):
        (folder / f"{number}.slot").touch()
        if f"longshore_{number}" not in databases:
            server.execute(f"create database longshore_{number}")
        stack.env["DATABASE_URL"] = server.url(f"longshore_{number}")
        stack.migrate()
    stack.env["DATABASE_URL"] = url
    return folder


def _survivors(copy: Path) -> int:
    lines = [line.strip() for line in lines_of(copy, "mutmut", "results", "--all", "true")[1]]
    statuses = dict(line.rsplit(": ", 1) for line in lines if ": " in line)
    survivors = [name for name, status in statuses.items() if status in ("survived", "no tests")]
    for name in survivors:
        print("\n".join(lines_of(copy, "mutmut", "show", name)[1]), end="\n\n")
    counts = Counter(statuses.values())
    print(", ".join(f"{status}: {count}" for status, count in counts.most_common()))
    return int(bool(survivors))
