"""The Responses wire. Requests and events are in its form already, so there is little to translate."""

from collections.abc import Generator
from contextlib import closing
from typing import Any

from workers.agents.providers import client
from workers.agents.providers.client import DONE, OPTIONAL, Event, Wait
from workers.agents.providers.errors import from_object
from workers.agents.providers.models_file import Target


def stream(target: Target, request: dict[str, Any], wait: Wait) -> Generator[Event, None, None]:
    """The events of a response. ProviderError."""
    body = {**request, "input": _input(request), "stream": True}
    if tools := request.get("tools"):
        body["tools"] = [{name: value for name, value in tool.items() if name != OPTIONAL} for tool in tools]
    with closing(client.stream(target.provider, "/responses", body, wait)) as events:
        for event in events:
            if "type" in event:
                yield event
            elif event is not DONE:
                raise from_object(event.get("error"))


def _input(request: dict[str, Any]) -> list[dict[str, Any]]:
    """The provider stores nothing, so it can take reasoning back only in its encrypted form."""
    items: list[dict[str, Any]] = request["input"]
    if request.get("previous_response_id"):
        return items[-1:]  # the provider has the rest
    return [item for item in items if item.get("type") != "reasoning" or item.get("encrypted_content")]
