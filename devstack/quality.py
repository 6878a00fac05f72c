"""`./dev check`, `test`, `coverage`, `mutate` and `lock`: the checks before a change is merged."""

import os
import sys
from pathlib import Path

import typer

from devstack.stack import ROOT

PASS = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def check(
    names: list[str] = typer.Argument(None, help="Run only these gates.", show_default=False),
    fix: bool = typer.Option(False, "--fix", help="First fix what the tools can fix."),
    fast: bool = typer.Option(False, "--fast", help="Run only the fast gates."),
    show: bool = typer.Option(False, "--list", help="List the gates."),
) -> None:
    """Run the gates: style, types, imports, sizes, migrations, docs, dependencies ..."""
    from devstack.check import run

    gates = run.select(names or [], fast=fast)
    if show:
        print("\n".join(f"{gate.name:13} {gate.description}" for gate in gates))
        return
    raise typer.Exit(run.run(gates, ROOT, fix=fix))


def test(context: typer.Context) -> None:
    """Run the gates, then the tests. With arguments, skip the gates and pass the arguments to pytest."""
    from devstack.check import run

    if not context.args and run.run(run.select([], fast=False), ROOT):
        raise typer.Exit(1)
    os.chdir(ROOT)
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *context.args])


def coverage(context: typer.Context) -> None:
    """Run the tests and show line and branch coverage. Arguments go to pytest; `coverage html` gives details."""
    from devstack import coverage_report

    raise typer.Exit(coverage_report.run(context.args))


def lock(
    upgrade: bool = typer.Option(False, "--upgrade", help="Upgrade to the newest versions that setup.cfg allows."),
) -> None:
    """Write the lock files again from setup.cfg."""
    from devstack.check import lock

    problems = lock.write(ROOT, upgrade=upgrade)
    print("\n".join(problems) or "The lock files are up to date.")
    raise typer.Exit(int(bool(problems)))


def mutate(
    name: str = typer.Argument(help="authorization, ledger, recovery, hub or relay."),
    state: Path = typer.Option(
        ROOT / "var" / "mutation", help="The folder for the copy of the project and its servers."
    ),
    only: str = typer.Option(None, help="Mutate only functions whose names contain this text, such as claim."),
    minutes: float = typer.Option(
        20, help="Stop after this many minutes; mutants not tested by then are only counted."
    ),
) -> None:
    """Put small faults into a module, one by one, and show those that no test detects. Takes several minutes."""
    from devstack.mutation import run

    raise typer.Exit(run.mutate(name, state.resolve(), minutes, only))


def register(app: typer.Typer) -> None:
    app.command()(check)
    app.command(context_settings=PASS)(test)
    app.command(context_settings=PASS)(coverage)
    app.command()(lock)
    app.command()(mutate)
