"""The request that asks the model for the next response of a turn."""

from typing import Any

from workers.agents.catalog import NO_PARAMETERS, Tool
from workers.agents.declarations import is_strict
from workers.agents.providers.client import OPTIONAL
from workers.agents.turn import Turn


def next_request(turn: Turn) -> dict[str, Any]:
    """The request, in the form of the Responses wire."""
    agent = turn.agent
    body: dict[str, Any] = {
        "model": turn.model,
        "input": turn.input,
        "store": False,
        "tools": _tools(turn),
        **(turn.config.get("model_settings") or {}),
        "instructions": _instructions(turn),
    }
    if agent.output_schema:
        schema, strict = agent.output_schema, is_strict(agent.output_schema)
        body["text"] = {"format": {"type": "json_schema", "name": "answer", "strict": strict, "schema": schema}}
    previous_response_id = turn.options.get("previous_response_id")
    if previous_response_id and turn.response_id is None:
        body["previous_response_id"] = previous_response_id
    return body


def _instructions(turn: Turn) -> str:
    request = turn.request
    text = turn.agent.instructions(
        user_name=request.user_name,
        tenant_id=str(request.tenant_id),
        user_id=str(request.user_id) if request.user_id else None,
        conversation_id=request.conversation_id,
        request_message=request.history[-1]["content"],
    )
    names = ", ".join(tool.name for tool in turn.withheld)
    return (
        f"{text}\n\nThe plan and the settings of this user's organisation do not include: {names}. Say so if it is needed."
        if names
        else text
    )


def _tools(turn: Turn) -> list[dict[str, Any]]:
    tools = [_declare(tool, turn.request.location) for tool in [*turn.hosted, *turn.functions]]
    for handoff in turn.agent.targets:
        target = turn.catalog.agents[handoff.agent]
        description = f"Pass the conversation to {target.display_name}. {target.description}"
        tools.append(_function(handoff.tool, handoff.description or description, NO_PARAMETERS))
    return tools


def _declare(tool: Tool, location: dict[str, str] | None) -> dict[str, Any]:
    if tool.hosted is None:
        return _function(tool.name, tool.description, tool.parameters or NO_PARAMETERS, strict=tool.strict)
    hosted = {**tool.hosted, OPTIONAL: True} if tool.optional else dict(tool.hosted)
    if hosted["type"] == "web_search" and location:
        hosted["user_location"] = {"type": "approximate", **location}
    return hosted


def _function(name: str, description: str, parameters: dict[str, Any], *, strict: bool = True) -> dict[str, Any]:
    return {"type": "function", "name": name, "description": description, "parameters": parameters, "strict": strict}
