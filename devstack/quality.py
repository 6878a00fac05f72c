"""`./dev check`, `test`, `coverage`, `mutate` and `lock`: what is asked of a change before it is merged."""

import os
import sys
from pathlib import Path

import typer

from devstack.stack import ROOT

PASS = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def check(
    names: list[str] = typer.Argument(None, help="Only these gates.", show_default=False),
    fix: bool = typer.Option(False, "--fix", help="First mend what a tool can mend."),
    fast: bool = typer.Option(False, "--fast", help="Only the gates that take a second or two."),
    show: bool = typer.Option(False, "--list", help="Name the gates."),
) -> None:
    """Run the gates: style, types, imports, sizes, migrations, docs, dependencies ..."""
    from devstack.check import run

    gates = run.chosen(names or [], fast=fast)
    if show:
        print("\n".join(f"{gate.name:13} {gate.about}" for gate in gates))
        return
    raise typer.Exit(run.run(gates, ROOT, fix=fix))


def test(context: typer.Context) -> None:
    """Run the gates and then the tests. With arguments, which go to pytest, only pytest runs."""
    from devstack.check import run

    if not context.args and run.run(run.chosen([], fast=False), ROOT):
        raise typer.Exit(1)
    os.chdir(ROOT)
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *context.args])


def coverage(context: typer.Context) -> None:
    """Run the tests and show which lines and branches they reach. Arguments go to pytest; `coverage html` shows more."""
    from devstack import coverage_report

    raise typer.Exit(coverage_report.run(context.args))


def lock(
    upgrade: bool = typer.Option(False, "--upgrade", help="Take the newest versions that setup.cfg allows."),
) -> None:
    """Make the lock files anew from setup.cfg."""
    from devstack.check import lock

    problems = lock.write(ROOT, upgrade=upgrade)
    print("\n".join(problems) or "The lock files are up to date.")
    raise typer.Exit(int(bool(problems)))


def mutate(
    name: str = typer.Argument(help="ledger, recovery, hub or relay."),
    state: Path = typer.Option(ROOT / "var" / "mutation", help="Where the copy and its servers live."),
    only: str = typer.Option(None, help="Only the functions in whose name this stands, such as claim."),
    minutes: float = typer.Option(20, help="Stop after so long; what was not tested by then is counted."),
) -> None:
    """Put small faults into a module, one by one, and show those that no test notices. Takes minutes."""
    from devstack.mutation import run

    raise typer.Exit(run.mutate(name, state.resolve(), minutes, only))


def register(app: typer.Typer) -> None:
    app.command()(check)
    app.command(context_settings=PASS)(test)
    app.command(context_settings=PASS)(coverage)
    app.command()(lock)
    app.command()(mutate)
