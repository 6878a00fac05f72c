"""The journal of a run: a row for each finished model response and each tool call. docs/journal.md says how it is used."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, cast
from uuid import UUID

import peewee

from models.jobs.ledger import Job, LeaseLost
from models.platform.database import Json, database, release
from models.platform.grouping import Grouped
from models.platform.json import storable

# Nothing is written unless the claim still owns the job. A finished step is never changed: if two claims write the same one at
# the same moment, the later one writes nothing and ends, and whoever comes next reads the first.
COLUMNS = "run_id, scope, number, kind, name, call_id, input_digest, output, usage, sequence"
SAVE = f"""
insert into run_step ({COLUMNS}, started_at, finished_at)
select {COLUMNS}, clock_timestamp() - make_interval(secs => seconds), clock_timestamp()
from jsonb_to_recordset(%(steps)s) as step(run_id uuid, scope text, number integer, kind text, name text, call_id text,
    input_digest text, output jsonb, usage jsonb, sequence bigint, seconds float, job_id uuid, epoch integer)
where exists (select from job where job.id = step.job_id and job.epoch = step.epoch and state = 'running')
on conflict (run_id, scope, number) do update set output = excluded.output, started_at = excluded.started_at,
    finished_at = excluded.finished_at
where run_step.finished_at is null
returning run_id, scope, number"""  # noqa: S608  (our own column names)
# A claim by another worker waits for this statement, or this one for it: `for share`. So of two claims only one begins.
BEGIN = """
insert into run_step (run_id, scope, number, kind, name, call_id, input_digest)
select %(run_id)s, %(scope)s, %(number)s, %(kind)s, %(name)s, %(call_id)s, %(input_digest)s
from job where id = %(job_id)s and epoch = %(epoch)s and state = 'running' for share
on conflict (run_id, scope, number) do update set started_at = now() where run_step.finished_at is null"""
LOAD = """
select scope, number, kind, name, call_id, input_digest, output, usage, sequence,
    extract(epoch from finished_at - started_at)::float, finished_at is not null, started_at
from run_step
where run_id = %(run_id)s and (scope = %(scope)s or starts_with(scope, %(scope)s || '/'))
order by scope, number"""
PURGE = """
delete from run_step where (run_id, scope, number) in (
    select run_id, scope, number from run_step
    where started_at < now() - make_interval(days => %(days)s) and not exists (
        select from run where run.id = run_step.run_id and state in ('queued', 'running', 'waiting'))
    limit %(limit)s)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A response of the model, or a call of a tool.

    scope       whose numbers these are: "" for a chat, and for example the step of a workflow; `<scope>/<number>` are the
                steps of the agent that the call with this number has asked
    number      a response has n, its calls n+1 to n+k in order of the output, the next response n+k+1
    digest      of what was sent: 32 hexadecimal characters
    name        of the tool, or of the model that was asked
    output      of a response {id, model, output}; of a call {output, failed}
    sequence    the number of the last event on the run's stream when a response was journaled
    seconds     that it took
    is_finished False for a call that has begun and is not known to have ended
    began_at    set when it was read
    """

    scope: str = ""
    number: int
    kind: Literal["response", "tool"]
    name: str | None = None
    call_id: str | None = None
    digest: str | None = None
    output: dict[str, Any] | None = None
    usage: dict[str, int] | None = None
    sequence: int | None = None
    seconds: float = 0.0
    is_finished: bool = True
    began_at: datetime | None = None

    def after(self, sequence: int | None) -> "Step":
        """The step as it is journaled, once all events up to `sequence` are on the stream."""
        return replace(self, sequence=sequence)

    def columns(self) -> dict[str, Any]:
        return {
            "scope": self.scope,
            "number": self.number,
            "kind": self.kind,
            "name": self.name,
            "call_id": self.call_id,
            "input_digest": self.digest,
            "output": self.output,
            "usage": self.usage,
            "sequence": self.sequence,
            "seconds": self.seconds,
        }


def save(job: Job, step: Step) -> None:
    """Write a finished step of the job's run. Steps of concurrent runs are written together.

    LeaseLost, and nothing is written, if the claim no longer owns the job, or the run was deleted.
    """
    if not _save(_values(job, step)):
        raise LeaseLost(str(job.id))


def save_in_transaction(job: Job, step: Step) -> None:
    """The same, as a part of the current transaction."""
    if not _save_together([_values(job, step)])[0]:
        raise LeaseLost(str(job.id))


def begin(job: Job, step: Step) -> None:
    """Write that a call begins, which may not be made again if it is cut. LeaseLost as in `save`."""
    try:
        written = database.execute_prepared(BEGIN, _values(job, step)).rowcount
    except peewee.IntegrityError as error:
        _raise_unless_deleted(error)
        written = 0
    if not written:
        raise LeaseLost(str(job.id))


def _values(job: Job, step: Step) -> dict[str, Any]:
    return {**step.columns(), "run_id": job.run_id, "job_id": job.id, "epoch": job.epoch}


def _save_together(group: list[dict[str, Any]]) -> list[bool]:
    """Whether each of the steps was written."""
    cursor = database.execute_prepared(SAVE, {"steps": Json(group, dumps=storable)})
    written = set(cursor.fetchall())
    return [(values["run_id"], values["scope"], values["number"]) in written for values in group]


def _save_group(group: list[dict[str, Any]]) -> list[bool]:
    try:
        return _save_together(group)
    except peewee.IntegrityError as error:  # a run was deleted just now
        _raise_unless_deleted(error)
        return [_save_alone(values) for values in group]
    finally:
        release()


def _save_alone(values: dict[str, Any]) -> bool:
    try:
        return _save_together([values])[0]
    except peewee.IntegrityError as error:
        _raise_unless_deleted(error)
        return False


def _raise_unless_deleted(error: peewee.IntegrityError) -> None:
    if "run_step_run_id_fkey" not in str(error):
        raise error


_save = Grouped("journal", _save_group)


def load(run_id: UUID, scope: str = "") -> list[Step]:
    """The steps of this scope and of those below it, in order."""
    rows = database.execute_prepared(LOAD, {"run_id": run_id, "scope": scope}).fetchall()
    return [
        Step(
            scope=row[0],
            number=row[1],
            kind=row[2],
            name=row[3],
            call_id=row[4],
            digest=row[5],
            output=row[6],
            usage=row[7],
            sequence=row[8],
            seconds=row[9] or 0.0,
            is_finished=row[10],
            began_at=row[11],
        )
        for row in rows
    ]


def purge(days: int, limit: int = 10_000) -> int:
    """Delete at most `limit` steps that began more than `days` days ago, but none of a run that has not ended. Returns
    how many were deleted."""
    return cast(int, database.execute_prepared(PURGE, {"days": days, "limit": limit}).rowcount)
