"""Processes that a benchmark starts in addition to the product's. They stop with the stack."""

from pathlib import Path

from devstack.process import Process
from devstack.stack import ROOT, Stack

PROCESSES = ("edge", "worker-agents", "worker-jobs", "scheduler")  # the product's


def launch(stack: Stack, name: str, command: str, env: dict[str, str] | None = None) -> Process:
    """Run a shell command that ends in an `exec`. Its output goes to the log `name`.log."""
    log: Path = stack.state / "logs" / f"{name}.log"
    process = Process(command, log, env=stack.env if env is None else env, cwd=ROOT)
    process.name = name
    stack.processes.append(process)
    return process


def pids_of(stack: Stack) -> dict[str, int]:
    """The root pid of every process tree: processes first, then servers such as Postgres."""
    pids: dict[str, int] = {process.name: process.pid for process in stack.processes}
    return pids | {name: part.process.pid for name, part in stack.parts.items() if part.process}
