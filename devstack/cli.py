"""The commands of ./dev."""

import os
import subprocess
import sys
from pathlib import Path

import typer
from rich.console import Console

from devstack import quality
from devstack.operator import STATE, jobs
from devstack.stack import ROOT, key_file

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Longshore on one laptop: start it, talk to it, test it, measure it.",
)
app.add_typer(jobs, name="jobs")
quality.register(app)
console = Console(highlight=False)
PASS = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@app.command()
def up(
    port: int = typer.Option(None, help="HTTP port; 0 picks a free one. Default 8000."),
    state: Path = STATE,
    fresh: bool = typer.Option(False, help="Forget all data first."),
    detach: bool = typer.Option(False, help="Go on in the background once it is ready."),
) -> None:
    """Start everything: embedded parts, schema, demo account, all processes."""
    from devstack import up as starter

    raise typer.Exit(starter.up(state, port, fresh, detach))


@app.command()
def down(state: Path = STATE) -> None:
    """Stop what `up` started."""
    from devstack import up as starter

    raise typer.Exit(starter.down(state))


@app.command(context_settings=PASS)
def bench(context: typer.Context) -> None:
    """Measure, beside peers in the same run: [--json] [names]. `bench list` names the benchmarks."""
    os.chdir(ROOT)
    os.execv(sys.executable, [sys.executable, "-m", "devstack.bench", *context.args])


@app.command()
def chat(
    message: str,
    agent: str = typer.Option(None, help="triage, code_assistant or data_analyst."),
    conversation: str = typer.Option(None, help="Go on with this conversation."),
    state: Path = STATE,
) -> None:
    """Ask something and see the answer come. Ctrl-C cancels the run."""
    from devstack import talk

    raise typer.Exit(talk.chat(state, message, agent, conversation))


@app.command()
def seed(state: Path = STATE) -> None:
    """Create the demo tenant and user, if they are missing."""
    from devstack.operator import connect

    connect(state)
    from devstack.seed import seed as create

    user, tenant = create()
    console.print(f"{user.email} in tenant {tenant.id}")


def _operate(name: str, context: typer.Context) -> None:
    """Hand over to `python -m models <name>`."""
    from models.commands import main

    raise typer.Exit(main([name, *context.args], prog="./dev"))


@app.command(context_settings=PASS)
def keys(context: typer.Context, state: Path = STATE) -> None:
    """The signing keys: create, list, rotate, revoke KID. With AUTH_KEY_STORAGE_PATH set, those of any file."""
    os.environ["AUTH_KEY_STORAGE_PATH"] = os.environ.get("AUTH_KEY_STORAGE_PATH") or str(key_file(state))
    _operate("keys", context)


@app.command(context_settings=PASS)
def operators(context: typer.Context, state: Path = STATE) -> None:
    """The platform's operators: list, create EMAIL, grant EMAIL, revoke EMAIL. With DATABASE_URL set, of any database."""
    _connect_unless_help(context, state)
    _operate("operators", context)


@app.command(context_settings=PASS)
def audit(context: typer.Context, state: Path = STATE) -> None:
    """Who did what, when, from where: [--actor user:ID] [--subject ...] [--action auth.sign] [--tenant ID] [--json]."""
    _connect_unless_help(context, state)
    _operate("audit", context)


def _connect_unless_help(context: typer.Context, state: Path) -> None:
    from devstack.operator import connect

    if not {"-h", "--help"} & set(context.args):
        connect(state)


@app.command()
def mail(
    show: int = typer.Option(None, help="Print the N-th newest mail whole; 1 is the newest."), state: Path = STATE
) -> None:
    """The mails that were sent, newest first."""
    from devstack.mails import read, stored

    files = stored(state)[::-1]
    if not files:
        console.print("No mail.")
    elif show is None:
        for number, file in enumerate(files[:50], 1):
            message = read(file)
            console.print(f"{number:3}  {message['to']}  {message['subject']}", markup=False)
    elif 1 <= show <= len(files):
        message = read(files[show - 1])
        part = message.get_body(("plain", "html"))
        console.print(
            f"To: {message['to']}\nSubject: {message['subject']}\n\n{part.get_content() if part else ''}",
            markup=False,
            soft_wrap=True,
        )
    else:
        raise SystemExit(f"There are {len(files)} mails.")


@app.command()
def logs(
    name: str = typer.Argument(None, help="postgres, valkey, storage, mail, openai"),
    state: Path = STATE,
    follow: bool = typer.Option(False, "-f", help="Go on printing."),
) -> None:
    """The logs of the embedded parts (the processes' own is what `up` prints; `up.log` when detached)."""
    files = sorted((state / "logs").glob(f"{name or '*'}*.log")) + ([state / "up.log"] if not name else [])
    files = [file for file in files if file.exists()]
    if not files:
        raise SystemExit(f"No logs in {state}.")
    subprocess.run(["tail", "-n", "40", *(["-f"] if follow else []), *map(str, files)], check=False)
