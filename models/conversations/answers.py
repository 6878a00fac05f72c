"""Storing an answer and everything that ends with it, in one round trip that is one transaction."""

from dataclasses import dataclass, field
from typing import Any

from models.conversations.recording import ADD_ANSWER, ADD_EVENTS, answer_values, event_values
from models.jobs.ledger import SUCCEEDED, Job, LeaseLost
from models.platform.database import Json, database
from models.platform.json import storable
from models.runs import holds, usage
from models.runs.run import Run
from models.runs.steps import Step

# Nothing is written unless `ended` has a row, that is, unless the claim still owns the job. If the conversation was
# deleted meanwhile, its run is gone too, and only the job ends.
STORE = """
with ended as (
    update job set state = 'succeeded', error = null, owner = null, lease_until = null, finished_at = now()
    where id = %(job_id)s and epoch = %(epoch)s and state = 'running'
    returning id
), updated as (
    update conversation set message_count = message_count + 1, event_count = event_count + %(count)s,
        active_agent = %(agent)s, last_message = %(preview)s,
        last_message_at = clock_timestamp(), updated_at = clock_timestamp()
    where id = %(conversation_id)s and exists (select from ended)
    returning id, message_count, event_count
), answered as (
    {answered}
), recorded as (
    {recorded}
), finished as (
    update run set state = 'succeeded', terminal = %(terminal)s, terminal_sequence = %(sequence)s,
        finished_at = clock_timestamp(), result = %(result)s, usage = %(usage)s
    where id = %(run_id)s and state in ('queued', 'running') and exists (select from ended)
        and (select count(*) from updated) >= 0  -- so that the conversation is locked before the run
    returning id
), journaled as (
    insert into run_step (run_id, scope, number, kind, name, input_digest, output, usage, sequence, started_at, finished_at)
    select id, %(step_scope)s, %(step_number)s::integer, 'response', %(step_name)s, %(step_input_digest)s, %(step_output)s,
        %(step_usage)s, %(step_sequence)s, clock_timestamp() - make_interval(secs => %(step_seconds)s), clock_timestamp()
    from finished where %(step_number)s::integer is not null
), metered as ({metered}), unfolded as ({tail})
select (select count(*) from ended), (select count(*) from finished)"""
STORE = STORE.replace("{answered}", ADD_ANSWER).replace("{recorded}", ADD_EVENTS)
STORE = STORE.replace("{metered}", usage.INSERT.format(only_if=" and exists (select from finished)"))
STORE = STORE.replace("{tail}", usage.TAIL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`items`: columns of the run events to record, in order. `result`: what POST /chat answers. `usage`: token counts.
    `step`: the last response, which is journaled with its answer; None if it is in the journal. `attachments`: what was made;
    `annotations`: what the text cites."""

    text: str
    agent: str
    items: list[dict[str, Any]]
    attachments: list[dict[str, Any]]
    result: dict[str, Any]
    usage: dict[str, int]
    annotations: list[dict[str, Any]] = field(default_factory=list)
    step: Step | None = None


def store(job: Job, run: Run, answer: Answer, terminal: dict[str, Any], sequence: int) -> None:
    """Finish the job and its run with this answer and the terminal event, which is numbered `sequence`.

    LeaseLost, and nothing is written, if the claim no longer owns the job. `run.terminal` is set unless the run is gone.
    """
    terminal = {**terminal, "sequence_number": sequence}
    cursor = database.execute_prepared(STORE, _values(job, run, answer, terminal))
    ended, finished = cursor.fetchone()
    if not ended:
        raise LeaseLost(str(job.id))
    job.state = SUCCEEDED
    if finished:
        run.state, run.terminal, run.terminal_sequence = SUCCEEDED, terminal, sequence
        used = usage.of_chat(answer.usage, messages=1)
        database.after_commit(lambda: holds.settle(run.tenant_id, run.id, used))


def _values(job: Job, run: Run, answer: Answer, terminal: dict[str, Any]) -> dict[str, Any]:
    return {
        "job_id": job.id,
        "epoch": job.epoch,
        "tenant_id": run.tenant_id,
        **usage.values(usage.source_of(run.id), usage.of_chat(answer.usage, messages=1)),
        **answer_values(run, answer.text, answer.agent, answer.attachments, answer.annotations),
        **event_values(run, answer.items),
        "terminal": Json(terminal, dumps=storable),
        "sequence": terminal["sequence_number"],
        "result": Json(answer.result, dumps=storable),
        "usage": Json(answer.usage),
        **step_values(answer.step),
    }


def step_values(step: Step | None) -> dict[str, Any]:
    names = ("scope", "number", "name", "input_digest", "output", "usage", "sequence", "seconds")
    values = step.columns() if step else dict.fromkeys(names)
    as_json = {name: step and Json(values[name], dumps=storable) for name in ("output", "usage")}
    return {f"step_{name}": value for name, value in {**values, **as_json}.items()}
