"""The agent loop: ask the model, run the tools that it calls, follow handoffs, until there is an answer."""

import json
from collections.abc import Callable, Generator
from contextlib import closing, nullcontext
from typing import Any

from workers.agents import items, tools
from workers.agents.catalog import Catalog, catalog
from workers.agents.declarations import Handoff
from workers.agents.items import Item
from workers.agents.providers.client import Wait
from workers.agents.providers.errors import ProviderError, from_object
from workers.agents.providers.routing import FALLBACK, Answer
from workers.agents.requests import next_request
from workers.agents.tools import ToolsContext
from workers.agents.turn import Event, Turn, TurnRequest, TurnResult

DEFAULT_MAX_TURNS = 10
ITEM_EVENTS = {
    "reasoning": "reasoning_item_created",
    "mcp_approval_request": "mcp_approval_requested",
    "mcp_list_tools": "mcp_list_tools",
}


def run_agent(
    request: TurnRequest,
    *,
    checkpoint: Callable[[], None] = lambda: None,
    wait: Wait = nullcontext,
    agents: Catalog | None = None,
) -> Generator[Event, None, TurnResult]:
    """Answer a question. Yields events and returns the result; ProviderError if the model gives no answer.

    `checkpoint()` is called between events and may raise. `wait()` is a context manager around each wait for the
    provider. `agents`: instead of those of the settings.
    """
    return Loop(Turn(request, agents or catalog()), checkpoint, wait).run()


class Loop:
    def __init__(self, turn: Turn, checkpoint: Callable[[], None], wait: Wait) -> None:
        self.turn, self.checkpoint, self.wait = turn, checkpoint, wait
        self.context = ToolsContext(user_id=turn.request.user_id, tenant_id=turn.request.tenant_id)

    def run(self) -> Generator[Event, None, TurnResult]:
        try:
            return (yield from self._run())
        except ProviderError as error:
            error.usage = dict(self.turn.usage)
            raise

    def _run(self) -> Generator[Event, None, TurnResult]:
        turn = self.turn
        yield turn.agent_update()
        yield turn.lifecycle("agent_start")
        for _ in range(turn.options.get("max_turns") or DEFAULT_MAX_TURNS):
            response = yield from self._next_response()
            output: list[Item] = response["output"]
            turn.input += [item for item in map(items.as_input, output) if item]
            calls = [item for item in output if item["type"] == "function_call"]
            if not calls:
                return (yield from self._answer(response))
            yield from self._run_calls(calls)
        raise ProviderError("max_turns_exceeded")

    # ------------------------------------------------------------- the model's response

    def _next_response(self) -> Generator[Event, None, dict[str, Any]]:
        """Pass on the events of one response as they come. Returns the completed response."""
        turn, completed = self.turn, None
        yield turn.lifecycle("llm_start")
        turn.answer = Answer(next_request(turn), self.wait)
        # Read beyond the last event, to the end of the stream: only then can the connection be used again.
        with closing(turn.answer.events()) as raw_events:
            try:
                for raw in raw_events:
                    self.checkpoint()
                    kind = raw["type"]
                    if kind == "error":
                        raise from_object(raw.get("error") or raw)
                    if kind == FALLBACK:
                        yield turn.fallback(raw)
                        continue
                    yield turn.raw_response(raw)
                    if kind == "response.output_item.done":
                        yield from self._item_done(raw["item"])
                    elif kind in ("response.completed", "response.incomplete", "response.failed"):
                        completed = yield from self._response_ended(kind, raw["response"])
            except ProviderError:
                if completed is None:  # otherwise only the rest of the connection is lost
                    raise
        if completed is None:
            raise ProviderError("provider_unavailable", "The model provider broke the connection.")
        return completed

    def _response_ended(self, kind: str, response: dict[str, Any]) -> Generator[Event, None, dict[str, Any]]:
        self.turn.add_response(response)
        yield self.turn.lifecycle("llm_end")
        if kind == "response.failed":
            raise from_object(response.get("error"))
        if kind == "response.incomplete":
            raise ProviderError("provider_incomplete")
        return response

    def _item_done(self, item: Item) -> Generator[Event, None, None]:
        """The events of a complete item, except for messages and for calls of our own functions."""
        turn, kind = self.turn, item["type"]
        if kind == "reasoning":
            text = items.reasoning_of(item)
            turn.record("reasoning", reasoning_text=text or None)
            yield turn.run_item(ITEM_EVENTS[kind], "reasoning_item", payload={"summary": text})
        elif kind in ITEM_EVENTS:
            payload = items.without_image(item)
            yield turn.run_item(ITEM_EVENTS[kind], f"{kind}_item", tool_call_id=item.get("id"), payload=payload)
        elif kind.endswith("_call") and kind != "function_call":
            yield self._hosted_call(item)

    def _hosted_call(self, item: Item) -> Event:
        kind, payload = item["type"], items.without_image(item)
        name = item.get("name") or kind.removesuffix("_call")
        fields = {"tool_call_id": item.get("id"), "tool_name": name}
        self.turn.record("mcp_call" if kind == "mcp_call" else "tool_call", name=name, call_arguments=payload, **fields)
        return self.turn.run_item("tool_called", "tool_call_item", payload=payload, **fields)

    # ------------------------------------------------------------- tools and handoffs

    def _run_calls(self, calls: list[Item]) -> Generator[Event, None, None]:
        """Run the called functions. If several handoffs are called, the first one is taken."""
        turn, target = self.turn, None
        for call in calls:
            self.checkpoint()
            handoff = turn.catalog.handoff(turn.agent, call["name"])
            if handoff is None:
                output = yield from self._call_tool(call)
            else:
                output = "Another handoff was taken." if target else json.dumps({"assistant": handoff.agent})
                yield self._request_handoff(call, handoff.agent, output)
                target = target or handoff
            turn.input.append({"type": "function_call_output", "call_id": call["call_id"], "output": output})
        if target:
            yield from self._hand_off(target)

    def _call_tool(self, call: Item) -> Generator[Event, None, str]:
        turn, name = self.turn, call["name"]
        fields = {"tool_call_id": call["call_id"], "tool_name": name}
        arguments = items.as_object(call["arguments"])
        turn.record("tool_call", name=name, call_arguments=arguments, **fields)
        yield turn.run_item("tool_called", "tool_call_item", payload={"arguments": arguments}, **fields)
        yield turn.lifecycle("tool_start", **fields)
        tool, _ = turn.catalog.function(turn.agent, name)
        output = tools.call(name, call["arguments"], self.context, tool)
        yield turn.lifecycle("tool_end", **fields)
        turn.record("tool_result", name=name, call_output=items.as_object(output), **fields)
        yield turn.run_item("tool_output", "tool_call_output_item", payload={"output": output}, **fields)
        return output

    def _request_handoff(self, call: Item, key: str, output: str) -> Event:
        turn, name = self.turn, call["name"]
        fields = {"tool_call_id": call["call_id"], "tool_name": name}
        turn.record("tool_call", name=name, call_arguments={"agent": key}, **fields)
        turn.record("tool_result", name=name, call_output={"value": output}, **fields)
        return turn.run_item("handoff_requested", "handoff_call_item", new_agent=key, payload={"agent": key}, **fields)

    def _hand_off(self, handoff: Handoff) -> Generator[Event, None, None]:
        turn, previous = self.turn, self.turn.agent
        turn.agent = target = turn.catalog.agents[handoff.agent]
        yield turn.run_item(
            "handoff_occured",
            "handoff_output_item",
            agent=previous.key,
            new_agent=target.key,
            payload={"from": previous.key, "to": target.key},
        )
        yield turn.lifecycle("handoff", agent=previous.key, new_agent=target.key)
        policy = turn.options.get("handoff_input_filter") or handoff.history or target.history
        turn.input = items.history_after_handoff(turn.input, policy)
        yield turn.agent_update()
        yield turn.lifecycle("agent_start")

    # ------------------------------------------------------------- the answer

    def _answer(self, response: dict[str, Any]) -> Generator[Event, None, TurnResult]:
        turn, output = self.turn, response["output"]
        answer = items.text_of(output)
        refusal = "" if answer else items.refusal_of(output)
        text = answer or refusal
        if not text:
            raise ProviderError("no_output")
        structured_output = _parse_structured(text) if turn.agent.output_schema and not refusal else None
        turn.record("assistant_message", role="assistant", content_text=text)
        payload = {"text": text, "refusal": bool(refusal)}
        yield turn.run_item("message_output_created", "message_output_item", payload=payload)
        yield turn.lifecycle("agent_end")
        yield turn.event("usage", payload=dict(turn.usage))
        return TurnResult(
            response_text=text,
            structured_output=structured_output,
            answering_agent=turn.agent.key,
            handoff_occurred=turn.agent is not turn.first_agent,
            usage=dict(turn.usage),
            response_id=turn.response_id,
            model=turn.model_used(response.get("model")),
            items=turn.items,
            refusal=bool(refusal),
        )


def _parse_structured(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise ProviderError("provider_failed") from None
