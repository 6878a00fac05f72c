"""The commands of ./dev."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from devstack import instance, quality
from devstack.job_commands import jobs
from devstack.mail_commands import mail
from devstack.options import STATE
from devstack.stack import ROOT, key_file
from devstack.stripe_commands import stripe

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Longshore on one machine: start it, talk to it, test it, measure it.",
)
app.add_typer(jobs, name="jobs")
app.add_typer(mail, name="mail")
app.add_typer(stripe, name="stripe")
quality.register(app)
console = Console(highlight=False)
# Options, --help too, go to the program behind the command.
PASS_THROUGH: dict[str, Any] = {
    "allow_extra_args": True,
    "ignore_unknown_options": True,
    "help_option_names": [],
}
HELP = {"-h", "--help"}


@app.command()
def up(
    port: int | None = typer.Option(None, help="HTTP port; 0 chooses a free one. Default: 8000."),
    state: Path = STATE,
    fresh: bool = typer.Option(False, "--fresh", help="Delete all data first."),
    detach: bool = typer.Option(
        False, "--detach", help="Return when it is ready, and leave it running in the background."
    ),
) -> None:
    """Start everything: embedded parts, database schema, demo account, all processes."""
    from devstack.up import up

    raise typer.Exit(up(state, port, fresh, detach))


@app.command()
def env() -> None:
    """Print an environment file for docker-compose.yml, with fresh secrets: `./dev env > .env`."""
    from devstack import env_file

    print(env_file.fresh(ROOT), end="")


@app.command()
def down(state: Path = STATE) -> None:
    """Stop the instance that `up` started."""
    from devstack.up import down

    raise typer.Exit(down(state))


@app.command(context_settings=PASS_THROUGH)
def bench(context: typer.Context) -> None:
    """Run benchmarks next to comparable systems: [--json] [NAMES]. `bench list` prints the names."""
    os.chdir(ROOT)
    os.execv(sys.executable, [sys.executable, "-m", "devstack.bench", *context.args])


@app.command()
def chat(
    message: str,
    agent: str | None = typer.Option(None, help="The name of an agent. Default: triage."),
    conversation: str | None = typer.Option(None, help="Id of a conversation to continue."),
    model: str | None = typer.Option(None, help="A model that clients may ask for. Default: the agent's."),
    attach: list[Path] = typer.Option(None, help="A file to attach: an image or a document. May be repeated."),
    state: Path = STATE,
) -> None:
    """Ask a question and print the answer as it is streamed. Ctrl-C cancels the run."""
    from devstack.chat import chat

    raise typer.Exit(chat(state, message, agent=agent, conversation=conversation, model=model, attach=attach or ()))


@app.command()
def seed(state: Path = STATE) -> None:
    """Create the demo tenant and user if they do not exist."""
    instance.use_database(state)
    from devstack.seed import seed

    user, tenant = seed()
    console.print(f"{user.email} in tenant {tenant.id}")


@app.command(context_settings=PASS_THROUGH)
def keys(context: typer.Context, state: Path = STATE) -> None:
    """Manage the signing keys: create, list, rotate, revoke KID. AUTH_KEY_STORAGE_PATH selects another file."""
    os.environ["AUTH_KEY_STORAGE_PATH"] = os.environ.get("AUTH_KEY_STORAGE_PATH") or str(key_file(state))
    if instance.read(state):  # its audit log records the change
        instance.use_database(state)
    _run_models_command("keys", context)


@app.command(context_settings=PASS_THROUGH)
def operators(context: typer.Context, state: Path = STATE) -> None:
    """Manage platform operators: list, create EMAIL, grant EMAIL, revoke EMAIL. DATABASE_URL selects another database."""
    _run_on_database("operators", context, state)


@app.command(context_settings=PASS_THROUGH)
def users(context: typer.Context, state: Path = STATE) -> None:
    """Lock a user out: disable EMAIL --reason TEXT, enable EMAIL ...; or only end their sessions: sign-out EMAIL ..."""
    _run_on_database("users", context, state)


@app.command(context_settings=PASS_THROUGH)
def members(context: typer.Context, state: Path = STATE) -> None:
    """Manage a tenant's members: add TENANT EMAIL ROLE, change-role TENANT EMAIL ROLE, remove TENANT EMAIL."""
    _run_on_database("members", context, state)


@app.command("tools", context_settings=PASS_THROUGH)
def tool_rules(context: typer.Context, state: Path = STATE) -> None:
    """Have a tenant's calls of tools approved: list TENANT, set TENANT TOOL always|admin --reason TEXT, clear TENANT TOOL ..."""
    _run_on_database("tools", context, state)


@app.command(context_settings=PASS_THROUGH)
def plans(context: typer.Context, state: Path = STATE) -> None:
    """Show the plans, or put a tenant on one where billing is off: list, put TENANT PLAN --reason TEXT."""
    _run_on_database("plans", context, state)


@app.command(context_settings=PASS_THROUGH)
def billing(context: typer.Context, state: Path = STATE) -> None:
    """Operate billing, such as `billing plans sync`, which brings Stripe in line with the plan file. --help lists all."""
    if not HELP & set(context.args):
        instance.use_database(state)
    from workers.billing.commands import main

    raise typer.Exit(main(context.args, prog="./dev billing"))


@app.command(context_settings=PASS_THROUGH)
def contact(context: typer.Context, state: Path = STATE) -> None:
    """Read, assign, close and erase messages of the contact form: `contact messages list`. --help lists all."""
    if not HELP & set(context.args):
        instance.use_database(state)
    from workers.contact.commands import main

    raise typer.Exit(main(context.args, prog="./dev contact"))


@app.command(context_settings=PASS_THROUGH)
def storage(context: typer.Context, state: Path = STATE) -> None:
    """Compare objects with the object storage: `storage reconcile --dry-run`. --help lists all."""
    if not HELP & set(context.args):
        instance.use_database(state)
    from workers.storage.commands import main

    raise typer.Exit(main(context.args, prog="./dev storage"))


@app.command(context_settings=PASS_THROUGH)
def status(context: typer.Context, state: Path = STATE) -> None:
    """Operate the status page, such as `status probes run`. --help lists all."""
    if not HELP & set(context.args):
        instance.use_database(state)
    from workers.status.commands import main

    raise typer.Exit(main(context.args, prog="./dev status"))


@app.command(context_settings=PASS_THROUGH)
def vector_stores(context: typer.Context, state: Path = STATE) -> None:
    """Show vector stores, and operate those at the provider: `vector-stores stores list`. --help lists all."""
    if not HELP & set(context.args):
        instance.use_database(state)
    from workers.vector_stores.commands import main

    raise typer.Exit(main(context.args, prog="./dev vector-stores"))


@app.command(context_settings=PASS_THROUGH)
def audit(context: typer.Context, state: Path = STATE) -> None:
    """Print the audit log: [--actor user:ID] [--subject user:ID] [--action auth.sign] [--tenant ID] [--json]."""
    _run_on_database("audit", context, state)


def _run_on_database(name: str, context: typer.Context, state: Path) -> None:
    if not HELP & set(context.args):
        instance.use_database(state)
    _run_models_command(name, context)


def _run_models_command(name: str, context: typer.Context) -> None:
    """Run `python -m models <name>` in this process."""
    from models.commands import main

    raise typer.Exit(main([name, *context.args], prog="./dev"))


@app.command()
def logs(
    name: str | None = typer.Argument(
        None, help="postgres, valkey, storage, mail, resend, openai or stripe. Default: all."
    ),
    state: Path = STATE,
    follow: bool = typer.Option(False, "--follow", "-f", help="Keep printing new lines."),
) -> None:
    """Print the logs of the embedded parts. The processes log to the terminal of `up`, with --detach to up.log."""
    files = sorted((state / "logs").glob(f"{name}*.log" if name else "*.log"))
    if not name and (state / "up.log").exists():
        files.append(state / "up.log")
    if not files:
        raise SystemExit(f"No logs of {name} in {state}." if name else f"No logs in {state}.")
    subprocess.run(["tail", "-n", "40", *(["-f"] if follow else []), *map(str, files)], check=False)
