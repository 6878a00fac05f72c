"""The journal of a run: a row for each finished model response and each tool call. docs/journal.md says how it is used."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, cast
from uuid import UUID

import peewee

from models.jobs.ledger import Job, LeaseLost
from models.platform.database import Json, database
from models.platform.json import storable

# Nothing is written unless this claim still owns the job. A claim of another worker waits for this statement (`for share`),
# so it reads either the step or nothing that is still to come.
SAVE = """
insert into run_step (run_id, scope, number, kind, name, call_id, input_digest, output, usage, sequence,
    started_at, finished_at)
select %(run_id)s, %(scope)s, %(number)s, %(kind)s, %(name)s, %(call_id)s, %(digest)s, %(output)s, %(usage)s, %(sequence)s,
    clock_timestamp() - make_interval(secs => %(seconds)s), case when %(is_finished)s then clock_timestamp() end
from job where id = %(job_id)s and epoch = %(epoch)s and state = 'running' for share
on conflict (run_id, scope, number) do update set input_digest = excluded.input_digest, output = excluded.output,
    usage = excluded.usage, sequence = excluded.sequence, started_at = excluded.started_at, finished_at = excluded.finished_at
"""
LOAD = """
select scope, number, kind, name, call_id, input_digest, output, usage, sequence,
    extract(epoch from finished_at - started_at)::float, finished_at is not null, started_at
from run_step
where run_id = %(run_id)s and (scope = %(scope)s or starts_with(scope, %(scope)s || '/'))
order by scope, number"""
PURGE = """
delete from run_step where (run_id, scope, number) in (
    select run_id, scope, number from run_step where started_at < now() - make_interval(days => %(days)s) limit %(limit)s)"""


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
        """The values of SAVE that describe the step."""
        return {
            "scope": self.scope,
            "number": self.number,
            "kind": self.kind,
            "name": self.name,
            "call_id": self.call_id,
            "digest": self.digest,
            "output": None if self.output is None else Json(self.output, dumps=storable),
            "usage": None if self.usage is None else Json(self.usage),
            "sequence": self.sequence,
            "seconds": self.seconds,
            "is_finished": self.is_finished,
        }


def save(job: Job, step: Step) -> None:
    """Write a step of the job's run; one that has begun is written again when it ends.

    LeaseLost, and nothing is written, if the claim no longer owns the job, or the run was deleted.
    """
    values = {**step.columns(), "run_id": job.run_id, "job_id": job.id, "epoch": job.epoch}
    try:
        written = database.execute_prepared(SAVE, values).rowcount
    except peewee.IntegrityError as error:
        if "run_step_run_id_fkey" in str(error):
            raise LeaseLost(f"the run of {job.id} is gone") from None
        raise
    if not written:
        raise LeaseLost(str(job.id))


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
    """Delete at most `limit` steps that began more than `days` days ago. Returns how many were deleted."""
    return cast(int, database.execute_prepared(PURGE, {"days": days, "limit": limit}).rowcount)
