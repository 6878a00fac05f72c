"""The agent loop: ask the model, run the tools it calls, follow handoffs, until there is an answer.

`run_agent` yields events in the wire's shape (models/events.py; the caller numbers them) and returns a TurnResult.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from typing import Any

from models.runs.events import event
from workers.agents import provider, tools
from workers.agents.catalog import CATALOG, NOTHING, Agent, Catalog, Tool, handoff_tool
from workers.agents.provider import ProviderError
from workers.agents.tools import ToolsContext

DEFAULT_TURNS = 10
HEAVY = ("instructions", "tools", "input")  # never passed on: prompts, and what the client sent itself
ITEM_EVENTS = {
    "reasoning": "reasoning_item_created",
    "mcp_approval_request": "mcp_approval_requested",
    "mcp_list_tools": "mcp_list_tools",
}
USAGE = ("input_tokens", "output_tokens", "total_tokens")


@dataclass(slots=True)
class TurnRequest:
    agent: str
    history: list[dict[str, str]]  # {role, content}; the last is the question
    conversation_id: str
    message: str
    user_id: str = ""
    user_name: str | None = None
    tenant_id: str = ""
    location: dict[str, str] | None = None
    run_options: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class TurnResult:
    response_text: str
    structured_output: Any
    answering_agent: str
    handoff_occurred: bool
    usage: dict[str, int]
    response_id: str | None
    model: str
    items: list[dict[str, Any]]
    refusal: bool = False
    attachments: list[dict[str, Any]] = field(default_factory=list)


class Turn:
    """The state of one question's way through the agents."""

    def __init__(self, request: TurnRequest, context: ToolsContext, checkpoint, waiting, catalog: Catalog):
        self.request, self.context, self.checkpoint, self.waiting, self.catalog = (
            request,
            context,
            checkpoint,
            waiting,
            catalog,
        )
        self.options = request.run_options
        self.agent = self.entry = catalog.get(request.agent)
        self.input: list[dict[str, Any]] = [dict(item) for item in request.history]
        self.items = [{"type": "user_message", "role": "user", "content_text": request.message}]
        self.usage = dict.fromkeys(USAGE, 0) | {"requests": 0}
        self.response_id: str | None = None
        self.refused = False

    # ------------------------------------------------------------- events

    def event(self, kind: str, **fields: Any) -> dict[str, Any]:
        fields.setdefault("agent", self.agent.key)
        return event(
            kind, self.request.conversation_id, agent_used=self.agent.key, response_id=self.response_id, **fields
        )

    def lifecycle(self, label: str, **fields: Any) -> dict[str, Any]:
        return self.event("lifecycle", event=label, **fields)

    def item(self, name: str, kind: str, **fields: Any) -> dict[str, Any]:
        return self.event("run_item", run_item_name=name, run_item_type=kind, **fields)

    def entered(self) -> dict[str, Any]:
        return self.event(
            "agent_update", new_agent=self.agent.key, payload={"key": self.agent.key, "name": self.agent.display_name}
        )

    def keep(self, kind: str, **fields: Any) -> None:
        """Remember a run event for the conversation's record."""
        self.items.append(
            {"type": kind, "agent": self.agent.key, "model": self.model, "response_id": self.response_id, **fields}
        )

    # ------------------------------------------------------------- the conversation with the model

    @property
    def model(self) -> str:
        return (self.options.get("run_config") or {}).get("model") or self.agent.model_name

    def run(self) -> Iterator[dict[str, Any]]:
        try:
            return (yield from self.turns())
        except ProviderError as error:
            error.usage = dict(self.usage)
            raise

    def turns(self) -> Iterator[dict[str, Any]]:
        yield self.entered()
        yield self.lifecycle("agent_start")
        for _ in range(self.options.get("max_turns") or DEFAULT_TURNS):
            response = yield from self.ask()
            calls = [item for item in response["output"] if item["type"] == "function_call"]
            self.input += [known for item in response["output"] if (known := _replayable(item))]
            if not calls:
                return (yield from self.answer(response))
            yield from self.act(calls)
        raise provider.from_code(None, "max_turns_exceeded")

    def body(self) -> dict[str, Any]:
        """The request for the next response."""
        agent, config = self.agent, self.options.get("run_config") or {}
        wanted: dict[str, Any] = {
            "model": self.model,
            "input": self.input,
            "store": False,
            "tools": self.tool_list(),
            **(config.get("model_settings") or {}),
            "instructions": agent.instructions(
                user_name=self.request.user_name,
                tenant_id=self.request.tenant_id,
                user_id=self.request.user_id,
                conversation_id=self.request.conversation_id,
            ),
        }
        if agent.output_schema:
            wanted["text"] = {
                "format": {"type": "json_schema", "name": "answer", "strict": True, "schema": agent.output_schema}
            }
        if self.response_id is None and (previous := self.options.get("previous_response_id")):
            wanted["previous_response_id"] = previous
            wanted["input"] = self.input[-1:]  # the provider has the rest
        return wanted

    def tool_list(self) -> list[dict[str, Any]]:
        listed = [self.declare(tool) for tool in self.catalog.tools_of(self.agent)]
        for key in self.agent.handoffs:
            target = self.catalog.agents[key]
            listed.append(
                _function(handoff_tool(key), f"Pass the conversation to {target.display_name}. {target.description}")
            )
        return listed

    def declare(self, tool: Tool) -> dict[str, Any]:
        if tool.hosted is None:
            return _function(tool.name, tool.description, tool.parameters)
        if tool.name == "web_search" and self.request.location:
            return {**tool.hosted, "user_location": {"type": "approximate", **self.request.location}}
        return dict(tool.hosted)

    def ask(self) -> Iterator[dict[str, Any]]:
        """One response, its events passed on as they come. Returns the completed response."""
        yield self.lifecycle("llm_start")
        ended = None
        # Read to the end, past the last event: only then can the connection be used again.
        with closing(provider.stream(self.body(), self.waiting)) as events:
            for raw in events:
                self.checkpoint()
                kind = raw["type"]
                if kind == "error":
                    raise provider.from_code(raw.get("code"), "provider_failed")
                yield self.raw(kind, raw)
                if kind == "response.output_item.done":
                    yield from self.finished_item(raw["item"])
                elif kind in ("response.completed", "response.incomplete", "response.failed"):
                    ended = yield from self.finished(kind, raw["response"])
        if ended is None:
            raise ProviderError("provider_unavailable", "The model provider broke the connection.")
        return ended

    def raw(self, kind: str, raw: dict[str, Any]) -> dict[str, Any]:
        payload, text, reasoning = raw, None, None
        if kind in ("response.output_text.delta", "response.refusal.delta"):
            text = raw["delta"]
        elif kind in ("response.reasoning_text.delta", "response.reasoning_summary_text.delta"):
            reasoning = raw["delta"]
        elif "response" in raw:
            kept = {key: value for key, value in raw["response"].items() if key not in HEAVY}
            payload = {**raw, "response": {**kept, "output": [_light(item) for item in kept.get("output") or ()]}}
        elif "partial_image_b64" in raw:
            payload = {**raw, "partial_image_b64": None}
        elif "item" in raw:
            payload = {**raw, "item": _light(raw["item"])}
        return self.event("raw_response", raw_type=kind, text_delta=text, reasoning_delta=reasoning, payload=payload)

    def finished(self, kind: str, response: dict[str, Any]) -> Iterator[dict[str, Any]]:
        self.response_id = response["id"]
        self.usage["requests"] += 1
        for name in USAGE:
            self.usage[name] += (response.get("usage") or {}).get(name) or 0
        yield self.lifecycle("llm_end")
        if kind == "response.failed":
            raise provider.from_code((response.get("error") or {}).get("code"), "provider_failed")
        if kind == "response.incomplete":
            raise provider.from_code(None, "provider_incomplete")
        return response

    def finished_item(self, item: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """What a complete item means, for items other than messages and our own functions' calls."""
        kind = item["type"]
        if kind == "reasoning":
            text = "\n".join(part.get("text", "") for part in item.get("summary") or ())
            self.keep("reasoning", reasoning_text=text or None)
            yield self.item(ITEM_EVENTS[kind], "reasoning_item", payload={"summary": text})
        elif kind in ITEM_EVENTS:
            yield self.item(ITEM_EVENTS[kind], f"{kind}_item", tool_call_id=item.get("id"), payload=_light(item))
        elif kind.endswith("_call") and kind != "function_call":
            name = item.get("name") or kind.removesuffix("_call")
            self.keep(
                "mcp_call" if kind == "mcp_call" else "tool_call",
                name=name,
                tool_call_id=item.get("id"),
                tool_name=name,
                call_arguments=_light(item),
            )
            yield self.item(
                "tool_called", "tool_call_item", tool_call_id=item.get("id"), tool_name=name, payload=_light(item)
            )

    # ------------------------------------------------------------- acting on it

    def act(self, calls: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Run the called tools; of several handoffs the first one is taken."""
        target: Agent | None = None
        for call in calls:
            self.checkpoint()
            handoff = next((key for key in self.agent.handoffs if handoff_tool(key) == call["name"]), None)
            if handoff is None:
                output = yield from self.use_tool(call)
            else:
                output = yield from self.request_handoff(call, handoff, target)
                target = target or self.catalog.agents[handoff]
            self.input.append({"type": "function_call_output", "call_id": call["call_id"], "output": output})
        if target:
            yield from self.hand_over(target)

    def use_tool(self, call: dict[str, Any]) -> Iterator[dict[str, Any]]:
        named = {"tool_call_id": call["call_id"], "tool_name": call["name"]}
        arguments = _as_object(call["arguments"])
        self.keep("tool_call", name=call["name"], call_arguments=arguments, **named)
        yield self.item("tool_called", "tool_call_item", payload={"arguments": arguments}, **named)
        yield self.lifecycle("tool_start", **named)
        offered = {name: tools.FUNCTIONS[name] for name in self.agent.tools if name in tools.FUNCTIONS}
        output = tools.call(call["name"], call["arguments"], self.context, offered)
        yield self.lifecycle("tool_end", **named)
        self.keep("tool_result", name=call["name"], call_output=_as_object(output), **named)
        yield self.item("tool_output", "tool_call_output_item", payload={"output": output}, **named)
        return output

    def request_handoff(self, call: dict[str, Any], key: str, taken: Agent | None) -> Iterator[dict[str, Any]]:
        named = {"tool_call_id": call["call_id"], "tool_name": call["name"]}
        output = json.dumps({"assistant": key}) if taken is None else "Another handoff was taken."
        self.keep("tool_call", name=call["name"], call_arguments={"agent": key}, **named)
        self.keep("tool_result", name=call["name"], call_output={"value": output}, **named)
        yield self.item("handoff_requested", "handoff_call_item", new_agent=key, payload={"agent": key}, **named)
        return output

    def hand_over(self, target: Agent) -> Iterator[dict[str, Any]]:
        before, self.agent = self.agent, target
        yield self.item(
            "handoff_occured",
            "handoff_output_item",
            agent=before.key,
            new_agent=target.key,
            payload={"from": before.key, "to": target.key},
        )
        yield self.lifecycle("handoff", agent=before.key, new_agent=target.key)
        self.input = _filtered(self.input, self.options.get("handoff_input_filter") or target.history)
        yield self.entered()
        yield self.lifecycle("agent_start")

    def structured(self, text: str) -> Any:
        if not self.agent.output_schema or self.refused:
            return None
        try:
            return json.loads(text)
        except ValueError:
            raise provider.from_code(None, "provider_failed") from None

    def answer(self, response: dict[str, Any]) -> Iterator[dict[str, Any]]:
        text = _text_of(response["output"], "output_text", "text")
        if not text:
            text = _text_of(response["output"], "refusal", "refusal")
            self.refused = bool(text)
        if not text:
            raise provider.from_code(None, "no_output")
        structured = self.structured(text)
        self.keep("assistant_message", role="assistant", content_text=text)
        yield self.item(
            "message_output_created", "message_output_item", payload={"text": text, "refusal": self.refused}
        )
        yield self.lifecycle("agent_end")
        yield self.event("usage", payload=dict(self.usage))
        return TurnResult(
            text,
            structured,
            self.agent.key,
            self.agent is not self.entry,
            dict(self.usage),
            self.response_id,
            response.get("model") or self.model,
            self.items,
            self.refused,
        )


def run_agent(
    request: TurnRequest,
    *,
    tools_context: ToolsContext,
    checkpoint: Callable[[], None] = lambda: None,
    interruptible: Callable[[], AbstractContextManager] = nullcontext,
    catalog: Catalog = CATALOG,
) -> Iterator[dict[str, Any]]:
    """`checkpoint` is called between events and may raise; `interruptible` surrounds waits for the provider."""
    return Turn(request, tools_context, checkpoint, interruptible, catalog).run()


def _function(name: str, description: str, parameters: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "type": "function",
        "name": name,
        "description": description,
        "parameters": parameters or NOTHING,
        "strict": True,
    }


def _replayable(item: dict[str, Any]) -> dict[str, Any] | None:
    """An output item as input of the next request, None where it cannot be.

    The provider stores nothing, so items go back without their ids; thoughts only in the encrypted form made for it.
    """
    if item["type"] == "function_call":
        return {key: item[key] for key in ("type", "call_id", "name", "arguments")}
    if item["type"] == "message":
        text = _text_of([item], "output_text", "text") or _text_of([item], "refusal", "refusal")
        return {"role": "assistant", "content": text}
    if item["type"] == "reasoning" and item.get("encrypted_content"):
        return {key: item[key] for key in ("type", "summary", "encrypted_content")}
    return None


def _filtered(items: list[dict[str, Any]], policy: str) -> list[dict[str, Any]]:
    """What an agent sees of the history after a handoff."""
    if policy == "fresh":
        asked = [n for n, item in enumerate(items) if item.get("role") == "user"]
        return items[asked[-1] : asked[-1] + 1]
    if policy in ("last_turn", "remove_all_tools"):
        said = [item for item in items if item.get("role") in ("user", "assistant")]
        return said[-2:] if policy == "last_turn" else said
    return items


def _light(item: dict[str, Any]) -> dict[str, Any]:
    """Without base64 images, which belong into storage."""
    return {**item, "result": None} if item.get("type") == "image_generation_call" else item


def _text_of(output: list[dict[str, Any]], part_type: str, key: str) -> str:
    parts = [part for item in output if item["type"] == "message" for part in item["content"]]
    return "".join(part[key] for part in parts if part["type"] == part_type)


def _as_object(text: str) -> dict[str, Any] | None:
    """JSON objects as they are, anything else as {"value": ...}, nothing as null."""
    if not text:
        return None
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    return value if isinstance(value, dict) else {"value": value}
