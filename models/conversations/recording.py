"""Adding to a conversation what a run brings: its answer, and the run events behind it.

A chat does both in one statement with its end (answers.py). A workflow adds events at the end of each step.
"""

from typing import Any
from uuid import UUID

from models.conversations.conversation import PREVIEW
from models.platform.database import Json, database, in_transaction
from models.platform.ids import uuid7
from models.platform.json import storable, storable_text
from models.runs.run import Run

Listed = list[dict[str, Any]]
COLUMNS = """response_id, type, name, role, agent, tool_call_id, tool_name, model, content_text, reasoning_text,
    call_arguments, call_output"""
# Parts of statements in which `updated` is the conversation's row, if it is still there.
ADD_EVENTS = """
insert into run_event (id, conversation_id, sequence, run_id, workflow_run_id, {columns})
select item.id, updated.id, updated.event_count - %(count)s + item.number, %(run_id)s, %(workflow_run_id)s, {columns}
from updated, jsonb_to_recordset(%(items)s) as item(id uuid, number integer, response_id text, type text, name text,
    role text, agent text, tool_call_id text, tool_name text, model text, content_text text, reasoning_text text,
    call_arguments jsonb, call_output jsonb)""".replace("{columns}", COLUMNS)
ADD_ANSWER = """
insert into message (id, conversation_id, position, role, agent, content, attachments, annotations, run_id)
select %(message_id)s, id, message_count - 1, 'assistant', %(agent)s, %(text)s, %(attachments)s, %(annotations)s, %(run_id)s
from updated"""

LOCK = "select id from conversation where id = (select conversation_id from run where id = %(run_id)s) for update"
RECORD = """
with updated as (
    update conversation set event_count = event_count + %(count)s where id = %(conversation_id)s returning id, event_count
)
{recorded}""".replace("{recorded}", ADD_EVENTS)
ANSWER = """
with updated as (
    update conversation set message_count = message_count + 1, active_agent = %(agent)s, last_message = %(preview)s,
        last_message_at = clock_timestamp(), updated_at = clock_timestamp()
    where id = %(conversation_id)s
    returning id, message_count
)
{answered}""".replace("{answered}", ADD_ANSWER)


@in_transaction
def lock_conversation(run_id: UUID) -> None:
    """Lock the conversation of a run. Whoever locks several of them locks first jobs, then the conversation, then the run."""
    database.execute_prepared(LOCK, {"run_id": run_id})


@in_transaction
def record_events(run: Run, items: list[dict[str, Any]]) -> None:
    """Add run events to the conversation of a workflow's run. `items`: their columns, in order."""
    database.execute_prepared(RECORD, event_values(run, items, str(run.id)))


@in_transaction
def add_answer(run: Run, text: str, agent: str, attachments: Listed, annotations: Listed) -> None:
    """Add the run's answer to its conversation."""
    database.execute_prepared(ANSWER, answer_values(run, text, agent, attachments, annotations))


def event_values(run: Run, items: list[dict[str, Any]], workflow_run_id: str | None = None) -> dict[str, Any]:
    """The values of ADD_EVENTS."""
    rows = [{**item, "id": uuid7(), "number": number} for number, item in enumerate(items)]
    return {
        "conversation_id": run.conversation_id,
        "run_id": run.id,
        "workflow_run_id": workflow_run_id,
        "count": len(rows),
        "items": Json(rows, dumps=storable),
    }


def answer_values(run: Run, text: str, agent: str, attachments: Listed, annotations: Listed) -> dict[str, Any]:
    """The values of ADD_ANSWER, and of its conversation's columns."""
    text = storable_text(text)
    return {
        "conversation_id": run.conversation_id,
        "run_id": run.id,
        "message_id": uuid7(),
        "agent": agent,
        "text": text,
        "preview": text[:PREVIEW],
        "attachments": Json(attachments, dumps=storable),
        "annotations": Json(annotations, dumps=storable),
    }
