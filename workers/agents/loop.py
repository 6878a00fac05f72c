"""The agent loop: ask the model, run the tools that it calls, follow handoffs, until there is an answer.

Each finished response and call is a step of the journal. Another attempt runs the same code and takes the finished steps
from there, so it must depend on nothing but the request and the journal.
"""

import json
import time
from collections.abc import Callable, Generator
from contextlib import closing, nullcontext
from dataclasses import replace
from typing import Any

from models.runs.steps import Step
from workers.agents import citations, items, memory, outcomes
from workers.agents.approvals import WaitsForApproval
from workers.agents.attachments import with_images
from workers.agents.calls import Calls
from workers.agents.catalog import Catalog, catalog
from workers.agents.code_containers import CodeContainers
from workers.agents.compaction import compact
from workers.agents.declarations import Handoff
from workers.agents.ingestion import Ingestion, Kept
from workers.agents.items import Item
from workers.agents.journal import Journal, digest
from workers.agents.outcomes import Outcome
from workers.agents.parallel import Emit
from workers.agents.providers.client import Wait
from workers.agents.providers.errors import ProviderError, from_object
from workers.agents.providers.routing import FALLBACK, Answer
from workers.agents.requests import next_request
from workers.agents.telemetry import AgentSpan
from workers.agents.turn import Event, Turn, TurnRequest, TurnResult

DEFAULT_MAX_TURNS = 10
ITEM_EVENTS = {
    "reasoning": "reasoning_item_created",
    "mcp_approval_request": "mcp_approval_requested",
    "mcp_list_tools": "mcp_list_tools",
}
CALLS = ("function_call", "mcp_approval_request")  # the items that have a number of their own
Flush = Callable[[], int | None]


def run_agent(
    request: TurnRequest,
    *,
    checkpoint: Callable[[], None] = lambda: None,
    wait: Wait = nullcontext,
    flush: Flush = lambda: None,
    agents: Catalog | None = None,
    journal: Journal | None = None,
) -> Generator[Event, None, TurnResult]:
    """Answer a question. Yields events and returns the result.

    ProviderError if the model gives no answer; WaitsForApproval if people have to decide about calls first: start it again
    with their `request.decisions`.

    `checkpoint()` is called between events and may raise. `wait()` is a context manager around each wait for the
    provider or for tools. `flush()` returns when all events so far are on the run's stream: the number of the last one.
    `agents`: instead of those of the settings. `journal`: with the steps of earlier attempts.
    """
    turn, journal = Turn(request, agents or catalog()), journal or Journal()
    return Loop(turn, journal, journal.scope, checkpoint, wait, flush).run()


class Loop:
    def __init__(
        self, turn: Turn, journal: Journal, scope: str, checkpoint: Callable[[], None], wait: Wait, flush: Flush
    ) -> None:
        self.turn, self.journal, self.scope = turn, journal, scope
        self.checkpoint, self.wait, self.flush = checkpoint, wait, flush
        self.containers = CodeContainers(turn, wait)
        self.ingestion = Ingestion(turn, journal.run_id, scope, wait)
        self.number = 0  # of the newest step
        self.step: Step | None = None  # the newest response, if it is not in the journal yet
        self.budget: int | None = None  # of tokens, once a provider has refused what fits the model's budget
        self.has_shown = False  # whether clients have seen a part of the newest response
        self.trimmed = (0, 0)  # what the newest request left out: messages and outputs

    def run(self) -> Generator[Event, None, TurnResult]:
        running = self._run()
        try:
            while True:
                event = next(running)
                if not (self.journal.is_replaying and self.journal.was_sent(event)):
                    yield event
        except StopIteration as end:
            result: TurnResult = end.value
            return result
        except ProviderError as error:
            error.usage = dict(self.turn.usage)
            raise
        finally:
            running.close()

    def _run(self) -> Generator[Event, None, TurnResult]:
        with AgentSpan(self.turn) as span:
            return (yield from self._work(span))

    def _work(self, span: AgentSpan) -> Generator[Event, None, TurnResult]:
        turn = self.turn
        yield turn.agent_update()
        yield turn.lifecycle("agent_start")
        for unread in turn.unread:
            yield turn.lifecycle("attachment_unread", payload=unread)
        yield from self._find_tools()
        yield from compact(turn, self.journal, self.scope, self.checkpoint, self.wait)
        for _ in range(turn.options.get("max_turns") or DEFAULT_MAX_TURNS):
            response = yield from self._next_response()
            output: list[Item] = response["output"]
            turn.input += [item for item in map(items.as_input, output) if item]
            calls = [item for item in output if item["type"] in CALLS]
            if not calls:
                return (yield from self._answer(response))
            self._keep_response()
            agent = turn.agent
            yield from self._run_calls(calls)
            if turn.agent is not agent:
                span.hand_off()
        raise ProviderError("max_turns_exceeded")

    def _find_tools(self) -> Generator[Event, None, None]:
        """Ask the agent's MCP servers what they have. The run goes on without those that do not say, and without what the
        tenant's plan does not allow."""
        turn = self.turn
        for tool in turn.withheld:
            yield turn.lifecycle("tools_withheld", tool_name=tool.name)
        turn.mcp_tools = []
        servers = turn.catalog.servers_of(turn.agent)
        if not servers:
            return
        from workers.agents.mcp.tools import tools_of  # most workers never need the SDK

        with self.wait():
            found = tools_of(servers)
        for name, tools in found.items():
            turn.mcp_tools += tools or ()
            if tools is None:
                yield turn.lifecycle("tools_unavailable", tool_name=name)

    def _next_number(self) -> int:
        self.number += 1
        return self.number

    # ------------------------------------------------------------- the model's response

    def _next_response(self) -> Generator[Event, None, dict[str, Any]]:
        """The completed response, from the journal or from the model."""
        number, request = self._next_number(), next_request(self.turn)
        request_digest = digest(request)  # before it is made to fit: settings and models files may change that
        if step := self.journal.find(self.scope, number, request_digest):
            return (yield from self._replay(step))
        try:
            return (yield from self._ask_model(number, request, request_digest))
        except ProviderError as error:
            if self.has_shown:
                raise
            if self.containers.replaces(error):
                yield self.turn.lifecycle("container_replaced")
            elif error.code != "context_length_exceeded" or not self._give_less(request):
                raise
        return (yield from self._ask_model(number, request, request_digest))

    def _give_less(self, request: dict[str, Any]) -> bool:
        """After a provider has refused the request as too long: halve what it gets, once. False if that changes nothing."""
        if self.budget:
            return False
        sent, _ = memory.fit_request(request, memory.budget_of(request["model"]))
        self.budget = memory.size_of(sent) // 2
        return memory.fit_request(sent, self.budget)[1] is not None

    def _ask_model(
        self, number: int, request: dict[str, Any], request_digest: str
    ) -> Generator[Event, None, dict[str, Any]]:
        """Pass on the events of one response as they come. Returns the completed response."""
        turn = self.turn
        request, trimmed = memory.fit_request(request, self.budget or memory.budget_of(request["model"]))
        if trimmed and (trimmed.dropped, trimmed.outputs) != self.trimmed:
            self.trimmed = trimmed.dropped, trimmed.outputs
            yield turn.lifecycle("context_trimmed", payload=trimmed.payload)
        request = self.containers.place(request)
        self.journal.is_live(self.scope)
        began, completed, self.has_shown = time.monotonic(), None, False
        yield turn.lifecycle("llm_start")
        made, images = Kept(), with_images(request, turn.request.tenant_id, self.wait)
        # Read beyond the last event, to the end of the stream: only then can the connection be used again.
        with images as sent, closing((answer := Answer(sent, self.wait)).events()) as raw_events:
            turn.target = answer.target.name
            try:
                for raw in raw_events:
                    self.checkpoint()
                    kind = raw["type"]
                    if kind == "error":
                        raise from_object(raw.get("error") or raw)
                    if kind == FALLBACK:
                        turn.target = raw["to"]
                        yield turn.fallback(raw)
                        continue
                    self.has_shown = answer.has_begun
                    if kind == "response.created":
                        self.ingestion.response_id = raw["response"].get("id")
                    if kind == "response.output_item.done":
                        kept = self.ingestion.keep(number, raw.get("output_index") or 0, raw["item"])
                        made.add(kept)
                        yield turn.raw_response(raw, kept)
                        yield from self._item_done(raw["item"], kept)
                        continue
                    yield turn.raw_response(raw)
                    if kind in ("response.completed", "response.incomplete", "response.failed"):
                        completed = yield from self._response_ended(kind, raw["response"])
            except ProviderError:
                if completed is None:  # otherwise only the rest of the connection is lost
                    raise
        if completed is None:
            raise ProviderError("provider_unavailable", "The model provider broke the connection.")
        target, output = answer.target, [items.without_image(item) for item in completed["output"]]
        model = target.label(completed.get("model") or target.model)
        self.step = Step(
            scope=self.scope,
            number=number,
            kind="response",
            name=target.name,
            digest=request_digest,
            output={"id": completed["id"], "model": model, "output": output, **made.as_json()},
            usage=completed.get("usage"),
            seconds=time.monotonic() - began,
        )
        return {**completed, "model": model}

    def _response_ended(self, kind: str, response: dict[str, Any]) -> Generator[Event, None, dict[str, Any]]:
        self.turn.add_response(response)
        yield self.turn.lifecycle("llm_end")
        if kind == "response.failed":
            raise from_object(response.get("error"))
        if kind == "response.incomplete":
            raise ProviderError("provider_incomplete")
        return response

    def _replay(self, step: Step) -> Generator[Event, None, dict[str, Any]]:
        """A response that an earlier attempt has paid for. Its events were sent before it was journaled."""
        self.turn.target = step.name
        response = {**(step.output or {}), "usage": step.usage}
        made = Kept.of_json(response)
        for item in response["output"]:
            yield from self._item_done(item, made.of_call(item.get("id")))
        yield from self._response_ended("response.completed", response)
        self.journal.replayed(self.scope, step.number)
        return response

    def _keep_response(self) -> None:
        if self.step:
            step, self.step = self.step, None
            self.journal.save(step.after(self.flush()))

    def _item_done(self, item: Item, kept: Kept) -> Generator[Event, None, None]:
        """The events of a complete item, except for messages and for calls of our own functions. `kept`: what it has made."""
        turn, kind = self.turn, item["type"]
        turn.keep((), kept.attachments, kept.failures)
        self.containers.ran(item)
        if kind == "reasoning":
            text = items.reasoning_of(item)
            turn.record("reasoning", reasoning_text=text or None)
            yield turn.run_item(ITEM_EVENTS[kind], "reasoning_item", payload={"summary": text})
        elif kind in ITEM_EVENTS:
            payload = items.without_image(item)
            yield turn.run_item(ITEM_EVENTS[kind], f"{kind}_item", tool_call_id=item.get("id"), payload=payload)
        elif kind.endswith("_call") and kind != "function_call":
            yield self._hosted_call(item, kept)
        for failure in kept.failures:
            yield turn.lifecycle("attachment_failed", tool_call_id=failure["tool_call_id"], payload=failure)

    def _hosted_call(self, item: Item, kept: Kept) -> Event:
        kind, payload = item["type"], items.without_image(item)
        name = item.get("name") or kind.removesuffix("_call")
        fields = {"tool_call_id": item.get("id"), "tool_name": name}
        self.turn.record("mcp_call" if kind == "mcp_call" else "tool_call", name=name, call_arguments=payload, **fields)
        made = kept.attachments or None
        return self.turn.run_item("tool_called", "tool_call_item", payload=payload, attachments=made, **fields)

    # ------------------------------------------------------------- tools and handoffs

    def _run_calls(self, output: list[Item]) -> Generator[Event, None, None]:
        """Run the called functions. If several handoffs are called, the first one is taken."""
        turn, calls = self.turn, Calls(self.turn, self.journal, self.scope, self.wait, self._ask)
        handoffs: list[tuple[int, Item, Handoff]] = []
        for item in output:
            number = self._next_number()
            if item["type"] == "mcp_approval_request":
                calls.add_mcp(number, item)
            elif handoff := turn.catalog.handoff(turn.agent, item["name"]):
                handoffs.append((number, item, handoff))
            else:
                calls.add(number, item)
        self.checkpoint()
        requests = yield from calls.run()
        if requests:
            raise WaitsForApproval(requests)
        results = calls.results()
        for number, item, handoff in handoffs:
            is_taken = item is handoffs[0][1]
            text = json.dumps({"assistant": handoff.agent}) if is_taken else "Another handoff was taken."
            yield self._request_handoff(item, handoff.agent, text)
            results[number] = items.output_of(item, text)
        turn.input += [results[number] for number in sorted(results)]
        if handoffs:
            yield from self._hand_off(handoffs[0][2])

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
        yield from self._find_tools()

    def _ask(self, agent: str, question: str, number: int, emit: Emit) -> Outcome:
        """What another agent answers, whose steps are below the call's. Of its events, clients see its start and end."""
        options = {name: value for name, value in self.turn.options.items() if name in ("max_turns", "run_config")}
        request = replace(
            self.turn.request,
            agent=agent,
            history=[{"role": "user", "content": question}],
            run_options=options,
            compaction=None,
        )
        turn = Turn(request, self.turn.catalog)
        loop = Loop(turn, self.journal, f"{self.scope}/{number}", lambda: None, nullcontext, lambda: None)
        running = loop.run()
        with closing(running):
            while True:
                try:
                    event = next(running)
                except StopIteration as end:
                    result: TurnResult = end.value
                    break
                if event["event"] in ("agent_start", "agent_end"):
                    emit(event)
        if result.step:
            self.journal.save(result.step)
        answered = outcomes.bounded(result.response_text)
        return replace(answered, sources=result.sources, attachments=result.attachments)

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
        annotations = [*items.annotations_of(output), *citations.found_in(text, turn.sources)]
        payload = {"text": text, "refusal": bool(refusal), "annotations": annotations}
        yield turn.run_item("message_output_created", "message_output_item", payload=payload)
        yield turn.lifecycle("agent_end")
        yield turn.event("usage", payload=dict(turn.usage))
        return turn.result(
            text, structured_output, response["model"], annotations, step=self.step, refusal=bool(refusal)
        )


def _parse_structured(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise ProviderError("provider_failed") from None
