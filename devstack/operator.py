"""`./dev jobs`: the ledger, for operators. Also on a remote database: set DATABASE_URL (and REDIS_URL to retry)."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import typer
from rich.console import Console
from rich.table import Column, Table

from devstack import state as instance

jobs = typer.Typer(
    no_args_is_help=True, help="List, show, retry and cancel jobs. With DATABASE_URL set, of any database."
)
console = Console(highlight=False)
STATE = typer.Option(
    instance.DEFAULT, "--state", help="State folder of the local instance.", show_default="var, beside ./dev"
)
AS_JSON = typer.Option(False, "--json", help="Print JSON.")


def connect(state: Path) -> None:
    """Point the settings at the database before anything reads them."""
    if not os.environ.get("DATABASE_URL"):
        facts = instance.need(state)
        for name in ("database_url", "redis_url", "broker_url"):
            os.environ.setdefault(name.upper(), facts[name])


def as_dict(job: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(job.__data__, default=str))
    return found


def find(text: str) -> UUID:
    from models.jobs.ledger import JobNotFound
    from models.platform.ids import parse_uuid

    job_id = parse_uuid(text)
    if job_id is None:
        raise JobNotFound(f"{text} is not a job id.")
    return job_id


@jobs.command("list")
def list_jobs(
    state_is: str = typer.Option(None, "--is", help="queued, running, succeeded, dead or cancelled."),
    name: str = typer.Option(None, help="Only this kind, such as chat.run."),
    queue: str = typer.Option(None),
    limit: int = typer.Option(50, min=1, max=1000),
    as_json: bool = AS_JSON,
    state: Path = STATE,
) -> None:
    """The newest jobs."""
    connect(state)
    from models.jobs.ledger import Job

    found = Job.listing(state=state_is, name=name, queue=queue, limit=limit)
    if as_json:
        print(json.dumps([as_dict(job) for job in found]))
        return
    table = Table(
        Column("id", no_wrap=True), "job", "state", "failures", "created", "error", box=None, header_style="bold"
    )
    for job in found:
        table.add_row(
            str(job.id),
            job.name,
            job.state,
            str(job.failures),
            f"{job.created_at:%Y-%m-%d %H:%M:%S}",
            (job.error or "")[:60],
        )
    console.print(table if found else "No jobs.")


@jobs.command()
def show(job_id: str, state: Path = STATE) -> None:
    """Everything about one job."""
    connect(state)
    from models.jobs.ledger import Job

    _attempt(lambda: print(json.dumps(as_dict(Job.find(find(job_id))), indent=2)))


@jobs.command()
def retry(job_id: str, state: Path = STATE) -> None:
    """Queue a dead or cancelled job again."""
    connect(state)
    from workers import jobs as table

    _attempt(lambda: console.print(f"{table.retry(find(job_id)).name} is queued again."))


@jobs.command()
def cancel(job_id: str, state: Path = STATE) -> None:
    """End a queued job; ask a running one to stop."""
    connect(state)
    from workers import jobs as table

    _attempt(lambda: console.print(f"{table.cancel(find(job_id)).state}"))


def _attempt(act: Callable[[], object]) -> None:
    from models.platform.errors import DomainError

    try:
        act()
    except DomainError as error:
        raise SystemExit(error.message) from None
