"""Adding to a conversation what a run of several steps brings: run events at the end of each, the answer at the end of all."""

import json
from functools import partial
from typing import Any
from uuid import UUID

from models.conversations.conversation import PREVIEW
from models.platform.database import Json, database, in_transaction
from models.platform.ids import uuid7
from models.runs.run import Run

LOCK = "select id from conversation where id = (select conversation_id from run where id = %(run_id)s) for update"
# Nothing is written if the conversation was deleted.
RECORD = """
with updated as (
    update conversation set event_count = event_count + %(count)s where id = %(conversation_id)s returning id, event_count
)
insert into run_event (id, conversation_id, sequence, run_id, workflow_run_id, response_id, type, name, role, agent,
    tool_call_id, tool_name, model, content_text, reasoning_text, call_arguments, call_output)
select item.id, updated.id, updated.event_count - %(count)s + item.number, %(run_id)s, %(workflow_run_id)s, response_id, type,
    name, role, agent, tool_call_id, tool_name, model, content_text, reasoning_text, call_arguments, call_output
from updated, jsonb_to_recordset(%(items)s) as item(id uuid, number integer, response_id text, type text, name text,
    role text, agent text, tool_call_id text, tool_name text, model text, content_text text, reasoning_text text,
    call_arguments jsonb, call_output jsonb)"""
ANSWER = """
with updated as (
    update conversation set message_count = message_count + 1, active_agent = %(agent)s, last_message = %(preview)s,
        last_message_at = clock_timestamp(), updated_at = clock_timestamp()
    where id = %(conversation_id)s
    returning id, message_count
)
insert into message (id, conversation_id, position, role, agent, content, attachments, run_id)
select %(message_id)s, id, message_count - 1, 'assistant', %(agent)s, %(text)s, %(attachments)s, %(run_id)s from updated"""
_dumps = partial(json.dumps, default=str)


@in_transaction
def lock_conversation(run_id: UUID) -> None:
    """Lock the conversation of a run. Whoever locks several of them locks first jobs, then the conversation, then the run."""
    database.execute_prepared(LOCK, {"run_id": run_id})


@in_transaction
def record_events(run: Run, items: list[dict[str, Any]]) -> None:
    """Add run events to the run's conversation. `items`: their columns, in order."""
    values = [{**item, "id": uuid7(), "number": number} for number, item in enumerate(items)]
    database.execute_prepared(
        RECORD,
        {
            "conversation_id": run.conversation_id,
            "count": len(values),
            "run_id": run.id,
            "workflow_run_id": str(run.id),
            "items": Json(values, dumps=_dumps),
        },
    )


@in_transaction
def add_answer(run: Run, text: str, agent: str, attachments: list[dict[str, Any]]) -> None:
    """Add the run's answer to its conversation."""
    database.execute_prepared(
        ANSWER,
        {
            "conversation_id": run.conversation_id,
            "message_id": uuid7(),
            "run_id": run.id,
            "agent": agent,
            "text": text,
            "preview": text[:PREVIEW],
            "attachments": Json(attachments),
        },
    )
