"""The model's next response, from the first provider of a chain that gives one. What the agent loop uses."""

import logging
import time
from collections.abc import Generator
from contextlib import closing
from typing import Any

from workers import metrics
from workers.agents.providers import chat_completions, responses
from workers.agents.providers.client import Event, Wait
from workers.agents.providers.errors import ProviderError, from_object
from workers.agents.providers.models_file import DEFAULT, Target, UnknownModel, models
from workers.agents.providers.wires import wire_of
from workers.agents.telemetry import ModelCall

WIRES = {"responses": responses.stream, "chat": chat_completions.stream}
# The events that come before the first token. After it there is no way back: a client has read a part of the answer.
PREAMBLE = {
    "response.created",
    "response.queued",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.reasoning_summary_part.added",
}
LAST = {"response.completed", "response.incomplete", "response.failed"}
FALLBACK = "model_fallback"  # the type of our own event: the next model of the chain is asked
REST_SECONDS, MAX_REST_SECONDS = 10.0, 300.0  # for which a model that failed is asked last
log = logging.getLogger(__name__)
_resting: dict[str, tuple[float, str]] = {}  # model -> when its rest ends, and the error


class Answer:
    """`request`: as on the Responses wire; its model is any name of the models file. `target`: the model that answers."""

    def __init__(self, request: dict[str, Any], wait: Wait) -> None:
        self.request, self.wait = request, wait
        self.chain = _chain(request["model"])
        self.target = self.chain[0]
        self.has_begun = False

    def events(self) -> Generator[Event, None, None]:
        """The events of a response, in the form of the Responses wire. ProviderError if no model of the chain answers."""
        # Stable: those that do not rest keep the order of the chain.
        targets = sorted(self.chain, key=_rests) if _resting else self.chain
        if targets[0] is not self.target:
            yield self._fall_back(targets[0], _resting[self.target.name][1])
        for target, following in zip(targets, [*targets[1:], None], strict=True):
            try:
                yield from self._ask(target, is_last=following is None)
                return
            except ProviderError as error:
                if following is None or self.has_begun or not error.is_curable:
                    raise
                _let_rest(target, error)
                yield self._fall_back(following, error.code)

    def _ask(self, target: Target, *, is_last: bool) -> Generator[Event, None, None]:
        request = {**self.request, "model": target.model}
        if not target.provider.may_have_mcp_credentials and any(
            {"authorization", "headers"} & set(tool) for tool in _tools(request)
        ):
            raise ProviderError("tools_unavailable")
        if target.provider.name != DEFAULT:  # only that one has our containers
            request["tools"] = [_with_own_container(tool) for tool in _tools(request)]
        if target is not self.chain[0]:
            request.pop("previous_response_id", None)  # only the first provider knows it
        with ModelCall(target, request) as call:
            stream = WIRES[wire_of(target.provider, self.wait)]
            with closing(stream(target, request, self.wait)) as events:
                yield from self._watched(events, call, is_last=is_last)

    def _watched(
        self, events: Generator[Event, None, None], call: ModelCall, *, is_last: bool
    ) -> Generator[Event, None, None]:
        has_begun = False
        for event in events:
            kind = event["type"]
            if not has_begun and kind not in PREAMBLE:
                if not is_last:
                    _raise_failure(event)
                has_begun = self.has_begun = True
                call.first_event()
            if kind == "error":
                call.fail(from_object(event.get("error") or event).code)
            elif kind in LAST:
                call.ended(kind, event["response"])
            yield event
        if not has_begun:
            raise ProviderError("provider_unavailable")

    def _fall_back(self, target: Target, code: str) -> Event:
        names = {"from": self.target.name, "to": target.name}
        self.target = target
        metrics.MODEL_FALLBACKS.labels(names["from"], names["to"], code).inc()
        log.warning("model.fallback", extra={**names, "code": code})
        return {"type": FALLBACK, **names, "code": code}


def _tools(request: dict[str, Any]) -> list[dict[str, Any]]:
    tools: list[dict[str, Any]] = request.get("tools") or []
    return tools


def _with_own_container(tool: dict[str, Any]) -> dict[str, Any]:
    is_named = tool["type"] == "code_interpreter" and isinstance(tool["container"], str)
    return {**tool, "container": {"type": "auto"}} if is_named else tool


def _chain(name: str) -> list[Target]:
    try:
        return models().chain(name)
    except UnknownModel:  # a run that waited while the file was changed
        raise ProviderError("model_not_found") from None


def _raise_failure(event: Event) -> None:
    """Raise what a response that failed at once says; another model may be asked."""
    if event["type"] == "error":
        raise from_object(event.get("error") or event)
    if event["type"] == "response.failed":
        raise from_object(event["response"].get("error"))


def _rests(target: Target) -> bool:
    """Whether a model failed a moment ago."""
    return target.name in _resting and _resting[target.name][0] > time.monotonic()


def _let_rest(target: Target, error: ProviderError) -> None:
    if error.code != "tools_unavailable":  # which says nothing of the next request
        seconds = min(max(REST_SECONDS, error.retry_after or 0), MAX_REST_SECONDS)
        _resting[target.name] = (time.monotonic() + seconds, error.code)
