"""What an answer leaves behind, written in one round trip that is one transaction."""

import json
from functools import partial
from typing import Any

from models.conversations.conversation import PREVIEW
from models.jobs.ledger import SUCCEEDED, Job, LeaseLost
from models.platform.database import Json, database
from models.platform.ids import uuid7
from models.runs.run import Run

# Everything hangs on `ended`: a job that is not ours any more writes nothing. A conversation that was deleted meanwhile
# has taken its run along; then only the job ends.
STORE = """
with ended as (
    update job set state = 'succeeded', error = null, owner = null, lease_until = null, finished_at = now()
    where id = %(job_id)s and epoch = %(epoch)s and state = 'running'
    returning id
), told as (
    update conversation set message_count = message_count + 1, event_count = event_count + %(count)s,
        active_agent = %(agent)s, last_message = %(preview)s,
        last_message_at = clock_timestamp(), updated_at = clock_timestamp()
    where id = %(conversation_id)s and exists (select from ended)
    returning id, message_count, event_count
), said as (
    insert into message (id, conversation_id, position, role, agent, content, attachments, run_id)
    select %(message_id)s, id, message_count - 1, 'assistant', %(agent)s, %(text)s, %(attachments)s, %(run_id)s from told
), noted as (
    insert into run_event (id, conversation_id, sequence, run_id, response_id, type, name, role, agent, tool_call_id,
        tool_name, model, content_text, reasoning_text, call_arguments, call_output)
    select item.id, told.id, told.event_count - %(count)s + item.number, %(run_id)s, response_id, type, name, role, agent,
        tool_call_id, tool_name, model, content_text, reasoning_text, call_arguments, call_output
    from told, jsonb_to_recordset(%(items)s) as item(id uuid, number integer, response_id text, type text, name text,
        role text, agent text, tool_call_id text, tool_name text, model text, content_text text, reasoning_text text,
        call_arguments jsonb, call_output jsonb)
), concluded as (
    update run set state = 'succeeded', terminal = %(terminal)s, terminal_sequence = %(sequence)s,
        finished_at = clock_timestamp(), result = %(result)s, usage = %(usage)s
    where id = %(run_id)s and state in ('queued', 'running') and exists (select from ended)
    returning id
)
select (select count(*) from ended), (select count(*) from concluded)"""
_dumps = partial(json.dumps, default=str)


def store(
    job: Job,
    run: Run,
    *,
    text: str,
    agent: str,
    items: list[dict[str, Any]],
    attachments: list[dict[str, Any]],
    terminal: dict[str, Any],
    sequence: int,
    result: dict[str, Any],
    usage: dict[str, int],
) -> None:
    """End the job and its run with the answer, the conversation's run events and the terminal event. LeaseLost, and
    nothing is written, when the job is no longer ours."""
    terminal = {**terminal, "sequence_number": sequence}
    rows = [{**item, "id": uuid7(), "number": number} for number, item in enumerate(items)]
    written = database.execute_prepared(
        STORE,
        {
            "job_id": job.id,
            "epoch": job.epoch,
            "run_id": run.id,
            "conversation_id": run.conversation_id,
            "message_id": uuid7(),
            "agent": agent,
            "text": text,
            "preview": text[:PREVIEW],
            "attachments": Json(attachments),
            "count": len(rows),
            "items": Json(rows, dumps=_dumps),
            "terminal": Json(terminal),
            "sequence": sequence,
            "result": Json(result),
            "usage": Json(usage),
        },
    )
    ended, concluded = written.fetchone()
    if not ended:
        raise LeaseLost(str(job.id))
    job.state = SUCCEEDED
    if concluded:
        run.state, run.terminal, run.terminal_sequence = SUCCEEDED, terminal, sequence
