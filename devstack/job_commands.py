"""`./dev jobs`: list, inspect, retry and cancel jobs.

For a remote database set DATABASE_URL, and for `retry` also REDIS_URL or BROKER_URL.
"""

import contextlib
import json
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import typer

from devstack import instance
from devstack.options import JSON, STATE

if TYPE_CHECKING:
    from models.jobs.ledger import Job

jobs = typer.Typer(
    no_args_is_help=True,
    help="List, show, retry and cancel jobs, and set the shares of tenants, of the local instance, or of the database in DATABASE_URL.",
)
_ROW = "{:36}  {:28}  {:9}  {:>8}  {:19}  {}"
MOST_AT_ONCE = 1_000_000  # jobs of a tenant; more than any installation has at once
_ERROR_LENGTH = 100  # characters of an error message in the list


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    DEAD = "dead"
    CANCELLED = "cancelled"


IN_STATE = typer.Option(None, "--is", help="Only jobs in this state.")


@jobs.command("list")
def list_jobs(
    job_state: JobState | None = IN_STATE,
    name: str | None = typer.Option(None, help="Only jobs of this name, such as chat.run."),
    queue: str | None = typer.Option(None, help="Only jobs in this queue, such as agents."),
    limit: int = typer.Option(50, min=1, max=1000, help="How many to print."),
    as_json: bool = JSON,
    state: Path = STATE,
) -> None:
    """List the newest jobs, newest first."""
    instance.use_database(state)
    from models.jobs.ledger import Job

    rows = Job.listing(state=job_state, name=name, queue=queue, limit=limit)
    if as_json:
        print(json.dumps([_as_dict(job) for job in rows]))
    else:
        _print_table(rows)


@jobs.command()
def show(job_id: str, state: Path = STATE) -> None:
    """Print all columns of one job as JSON."""
    instance.use_database(state)
    from models.jobs.ledger import Job, JobNotFound

    with _domain_errors():
        job = Job.get_or_none(Job.id == _parse_id(job_id))
        if job is None:
            raise JobNotFound()
        print(json.dumps(_as_dict(job), indent=2))


@jobs.command()
def retry(job_id: str, state: Path = STATE) -> None:
    """Queue a dead or cancelled job again."""
    instance.use_database(state)
    from workers.jobs import retry

    with _domain_errors():
        print(f"{retry(_parse_id(job_id)).name} is queued again.")


@jobs.command()
def cancel(job_id: str, state: Path = STATE) -> None:
    """Cancel a queued or waiting job, or ask a running one to stop."""
    instance.use_database(state)
    from workers.jobs import cancel

    with _domain_errors():
        job = cancel(_parse_id(job_id))
        ended = job.state == JobState.CANCELLED
        print(f"{job.name} is cancelled." if ended else f"{job.name} is running; it was asked to stop.")


@jobs.command()
def share(
    tenant: str = typer.Argument(help="The tenant's slug or id."),
    jobs_at_once: str = typer.Argument(help="A number, or `default` for that of the tenant's plan."),
    state: Path = STATE,
) -> None:
    """Set how many jobs of a tenant are with the workers of one queue at once."""
    number = None if jobs_at_once == "default" else _positive(jobs_at_once)
    instance.use_database(state)
    from models.auth.tenants import Tenant
    from models.jobs import lanes
    from models.platform.ids import parse_uuid

    found = Tenant.get_or_none(Tenant.slug == tenant)
    tenant_id = found.id if found else parse_uuid(tenant)
    if tenant_id is None or (number and not lanes.set_share(tenant_id, number)):
        raise SystemExit(f"There is no tenant {tenant}.")
    if number is None:
        lanes.clear_share(tenant_id)
    print(
        f"Jobs of this tenant that are with the workers of a queue at once: {number or 'as its plan or TENANT_JOBS_AT_ONCE says'}."
    )


def _positive(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text[:12]) <= MOST_AT_ONCE:
        raise typer.BadParameter(f"must be a number from 1 to {MOST_AT_ONCE:_}, or `default`")
    return int(text)


def _as_dict(job: "Job") -> dict[str, Any]:
    columns: dict[str, Any] = json.loads(json.dumps(job.__data__, default=str))
    return columns


def _print_table(rows: list["Job"]) -> None:
    if not rows:
        print("No jobs.")
        return
    print(_ROW.format("id", "job", "state", "failures", "created (UTC)", "error"))
    for job in rows:
        created = f"{job.created_at:%Y-%m-%d %H:%M:%S}"
        error = (job.error or "").partition("\n")[0][:_ERROR_LENGTH]
        print(_ROW.format(str(job.id), job.name, job.state, job.failures, created, error).rstrip())


def _parse_id(text: str) -> UUID:
    from models.jobs.ledger import JobNotFound
    from models.platform.ids import parse_uuid

    job_id = parse_uuid(text)
    if job_id is None:
        raise JobNotFound(f"{text} is not a job id.")
    return job_id


@contextlib.contextmanager
def _domain_errors() -> Iterator[None]:
    """Print an error that an operator may see, and exit with 1."""
    from models.platform.errors import DomainError

    try:
        yield
    except DomainError as error:
        raise SystemExit(error.message) from None
