"""`./dev mail`: the mails of the local instance, how each mail looks, and what operators do about mail."""

import sys
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from devstack import instance
from devstack.options import STATE

mail = typer.Typer(invoke_without_command=True, help="List the mails of the local instance, or work on mails.")
console = Console(highlight=False)
PASS_THROUGH: dict[str, Any] = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
LISTED = 50


@mail.callback()
def stored(
    context: typer.Context,
    show: int | None = typer.Option(None, min=1, help="Print the N-th newest mail; 1 is the newest."),
    html: bool = typer.Option(False, "--html", help="With --show: its HTML instead of its plain text."),
    state: Path = STATE,
) -> None:
    """List the mails of the local instance, newest first. Mails are stored, not sent."""
    from devstack.mails import stored

    if context.invoked_subcommand:
        return
    files = stored(state)[::-1]
    if not files:
        console.print(f"No mails in {state}.", soft_wrap=True)
    elif show is None:
        _list(files[:LISTED])
    elif show > len(files):
        raise SystemExit(f"There is no mail {show}; the oldest is {len(files)}.")
    else:
        _print(files[show - 1], "html" if html else "plain")


@mail.command()
def preview(
    name: str | None = typer.Argument(None, help="The name of a template. Default: list them all."),
    html: bool = typer.Option(False, "--html", help="Print the HTML instead of the plain text."),
) -> None:
    """Print a mail as it would be sent, with sample values: `./dev mail preview invite --html > invite.html`."""
    from workers.mail.build import rendered
    from workers.mail.kinds import KINDS
    from workers.mail.samples import SAMPLES, UNSUBSCRIBE_URL

    if name is None:
        for template, kind in KINDS.items():
            console.print(f"{template:32} {kind.category}")
        return
    if name not in KINDS:
        raise SystemExit(f"There is no mail {name!r}. `./dev mail preview` lists them.")
    more = {"unsubscribe_url": UNSUBSCRIBE_URL} if name.startswith("status_") else {}
    subject, text, page = rendered(name, SAMPLES[name] | more)
    sys.stdout.write(f"{page}\n" if html else f"Subject: {subject}\n\n{text}\n")


@mail.command(context_settings=PASS_THROUGH)
def suppressions(context: typer.Context, state: Path = STATE) -> None:
    """Addresses that get no mail: list, add ADDRESS, remove ADDRESS."""
    _run("suppressions", context, state)


@mail.command("test", context_settings=PASS_THROUGH)
def send_test(context: typer.Context, state: Path = STATE) -> None:
    """Send a test mail to ADDRESS."""
    _run("test", context, state)


def _run(name: str, context: typer.Context, state: Path) -> None:
    source = context.get_parameter_source("state")
    if context.parent and source and source.name == "DEFAULT":
        state = context.parent.params["state"]  # `./dev mail --state FOLDER test ...`
    if not {"-h", "--help"} & set(context.args):
        instance.use_database(state)
    from workers.mail.commands import main

    raise typer.Exit(main([name, *context.args], prog="./dev mail"))


def _list(files: list[Path]) -> None:
    from devstack.mails import read

    for number, file in enumerate(files, 1):
        message = read(file)
        console.print(f"{number:3}  {message['to']}  {message['subject']}", markup=False)


def _print(file: Path, kind: str) -> None:
    from devstack.mails import read

    message = read(file)
    part = message.get_body((kind, "plain"))
    text = part.get_content() if part else ""
    console.print(f"To: {message['to']}\nSubject: {message['subject']}\n\n{text}", markup=False, soft_wrap=True)
