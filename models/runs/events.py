"""The events of a run's stream, in the shape that clients get (StreamingChatEvent in the API)."""

from typing import Any
from uuid import UUID

from models.platform.clock import iso, now

FIELDS = (
    "kind",
    "conversation_id",
    "agent_used",
    "response_id",
    "sequence_number",
    "raw_type",
    "run_item_name",
    "run_item_type",
    "tool_call_id",
    "tool_name",
    "agent",
    "new_agent",
    "text_delta",
    "reasoning_delta",
    "response_text",
    "structured_output",
    "is_terminal",
    "event",
    "payload",
    "attachments",
)
PLACE = ("step_name", "step_agent", "stage_name", "parallel_group", "branch_index")  # of an event in a workflow
_BLANK: dict[str, Any] = {**dict.fromkeys(FIELDS), "is_terminal": False}


def event(kind: str, conversation_id: str, **fields: Any) -> dict[str, Any]:
    """An event with all fields of the schema, null unless given."""
    return {**_BLANK, "kind": kind, "conversation_id": conversation_id, **fields}


def succeeded(
    conversation_id: str, agent: str | None, text: str | None, structured: Any, **fields: Any
) -> dict[str, Any]:
    """The terminal event of a run with an answer. `structured`: the answer as JSON, if the agent has an output schema."""
    payload = {"response_text": text, "structured_output": structured, **fields.pop("payload", {})}
    return event(
        "run_item",
        conversation_id,
        is_terminal=True,
        agent=agent,
        agent_used=agent,
        response_text=text,
        structured_output=structured,
        payload=payload,
        **fields,
    )


def failed(conversation_id: str, agent: str | None, code: str, message: str) -> dict[str, Any]:
    """The terminal event of a failed run. `code` is stable, `message` is for people."""
    return event(
        "error",
        conversation_id,
        is_terminal=True,
        agent=agent,
        agent_used=agent,
        payload={"error": message, "code": code},
    )


def cancelled(conversation_id: str, agent: str | None, reason: str) -> dict[str, Any]:
    """The terminal event of a cancelled run."""
    return event(
        "lifecycle",
        conversation_id,
        is_terminal=True,
        event="cancelled",
        agent=agent,
        agent_used=agent,
        payload={"reason": reason},
    )


def restarted(conversation_id: str, agent: str, attempt: int, void_from: int | None) -> dict[str, Any]:
    """The first event of the second and every later attempt: clients drop the text with numbers from `void_from` on."""
    payload = {"attempt": attempt, "void_from": void_from}
    return event("lifecycle", conversation_id, event="restarted", agent=agent, agent_used=agent, payload=payload)


def approval_requested(conversation_id: str, agent: str, approvals: list[dict[str, Any]]) -> dict[str, Any]:
    """The run waits until somebody has decided about these calls."""
    payload = {"approvals": approvals}
    return event(
        "lifecycle", conversation_id, event="approval_requested", agent=agent, agent_used=agent, payload=payload
    )


def of_workflow(event: dict[str, Any], key: str, run_id: UUID, **place: Any) -> dict[str, Any]:
    """The event as one of a workflow's stream (StreamingWorkflowEvent). `place`: its step and stage, if it has them."""
    return {
        **event,
        "workflow_key": key,
        "workflow_run_id": str(run_id),
        "server_timestamp": iso(now()),
        **dict.fromkeys(PLACE),
        **place,
    }
