"""The Chat Completions wire, which most compatible servers speak."""

import logging
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any

from workers.agents.providers import client
from workers.agents.providers.chat_events import ChatEvents
from workers.agents.providers.chat_request import chat_request
from workers.agents.providers.client import DONE, Event, Wait
from workers.agents.providers.errors import ProviderError
from workers.agents.providers.models_file import Provider, Target

log = logging.getLogger(__name__)
_without_usage: set[str] = set()


def stream(target: Target, request: dict[str, Any], wait: Wait) -> Generator[Event, None, None]:
    """The events of a response. ProviderError. Without a last event if the connection broke."""
    body = chat_request(request, target.provider)
    known = {item["call_id"] for item in request["input"] if item.get("type") == "function_call"}
    answer, has_ended = ChatEvents(target.model, known), False
    with closing(client.stream(target.provider, "/chat/completions", body, wait)) as chunks:
        try:
            for chunk in chunks:
                if chunk is DONE:
                    yield from _sensible(answer.end())
                    has_ended = True
                elif not has_ended:
                    yield from _sensible(answer.of(chunk))
        except ProviderError:
            if not answer.has_finished:
                raise
    if answer.finish_reason and not has_ended:
        yield from _sensible(answer.end())
    if not answer.usage:
        _warn_of_usage(target.provider)


def _sensible(events: Iterator[Event]) -> Iterator[Event]:
    """The events of chunks. ProviderError if they do not have the form of the API."""
    try:
        yield from events
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        log.warning("model.malformed_answer", extra={"reason": repr(error)})
        raise ProviderError("provider_failed") from None


def _warn_of_usage(provider: Provider) -> None:
    """Its tokens are not counted, so limits on tokens do not apply to it."""
    if provider.name not in _without_usage:
        _without_usage.add(provider.name)
        log.warning("model.no_usage", extra={"provider": provider.name})
