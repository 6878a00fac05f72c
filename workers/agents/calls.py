"""The calls of one response: which of them run now, which are known from the journal, and which wait for a person."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any, Literal

from models.platform.settings import settings
from models.runs.steps import Step
from workers import metrics
from workers.agents import approvals, captured, items, outcomes, parallel
from workers.agents.approvals import ApprovalRequest, Decision, WaitsForApproval
from workers.agents.catalog import Tool
from workers.agents.citations import label_of
from workers.agents.functions import ToolsContext
from workers.agents.items import Item
from workers.agents.journal import Journal, digest
from workers.agents.outcomes import Outcome
from workers.agents.parallel import Emit, Result, Task
from workers.agents.providers.client import Wait
from workers.agents.providers.errors import ProviderError
from workers.agents.telemetry import tool_span
from workers.agents.turn import Event, Turn

Asker = Callable[[str, str, int, Emit], Outcome]  # (agent, question, number of the call, emit) -> what it answers


@dataclass(slots=True, kw_only=True)
class Call:
    """`tool`: None if the agent has none of that name. `fault`: what becomes of it if it cannot be made. `agent`: the key of the
    agent that the call asks."""

    number: int
    item: Item
    tool: Tool | None
    arguments: dict[str, Any]
    fault: Outcome | None = None
    agent: str | None = None
    step: Step | None = None
    outcome: Outcome | None = None
    request: ApprovalRequest | None = None

    @property
    def name(self) -> str:
        return str(self.item["name"])

    @property
    def fields(self) -> dict[str, str]:
        """What all events and records of the call have."""
        return {"tool_call_id": self.item["call_id"], "tool_name": self.name}


class Calls:
    """Calls of functions, in the order of the output. `ask`: asks another agent."""

    def __init__(self, turn: Turn, journal: Journal, scope: str, wait: Wait, ask: Asker) -> None:
        self.turn, self.journal, self.scope, self.wait, self.ask = turn, journal, scope, wait, ask
        self.calls: list[Call] = []
        self.waiting: list[ApprovalRequest] = []  # of MCP servers, and of the agents that were asked
        self.answers: dict[int, Item] = {}  # to MCP servers, by number

    def add(self, number: int, item: Item) -> None:
        tool = next((tool for tool in self.turn.functions if tool.name == item["name"]), None)
        agent = self.turn.catalog.asked(self.turn.agent, item["name"])
        read = outcomes.read_arguments(tool, item["arguments"]) if tool else outcomes.unknown(item["name"])
        fault = read if isinstance(read, Outcome) else None
        arguments = {} if isinstance(read, Outcome) else read
        call = Call(number=number, item=item, tool=tool, arguments=arguments, fault=fault, agent=agent)
        call.step = self.journal.find(self.scope, number, _digest(call))
        self._decide(call)
        self.calls.append(call)

    def add_mcp(self, number: int, item: Item) -> None:
        """A call that a hosted MCP server makes once a person has approved it."""
        arguments = items.as_object(item["arguments"]) or {}
        decision = self._decision(number, str(item["name"]), arguments)
        if self.turn.catalog.denies(str(item.get("server_label")), str(item["name"])):
            self.answers[number] = items.mcp_answer(item, False, "Nobody may call this tool.")
        elif decision:
            self.answers[number] = items.mcp_answer(item, decision.verdict == "approved", decision.reason)
        else:
            self.waiting.append(
                ApprovalRequest(number, str(item["id"]), str(item["name"]), arguments, "mcp", self.scope)
            )

    def run(self) -> Generator[Event, None, list[ApprovalRequest]]:
        """The events of all calls; the outcomes are in the calls then. Returns what people have to decide first."""
        for call in self.calls:
            arguments = items.as_object(call.item["arguments"])
            yield self.turn.run_item("tool_called", "tool_call_item", payload={"arguments": arguments}, **call.fields)
            if call.request is None:
                yield self.turn.lifecycle("tool_start", **call.fields)
        for answer in self.answers.values():
            payload = {"approve": answer["approve"], "reason": answer.get("reason")}
            fields = {"tool_call_id": answer["approval_request_id"], "payload": payload}
            yield self.turn.run_item("mcp_approval_response", "mcp_approval_response_item", **fields)
        for call in self.calls:
            if call.outcome:
                yield from self._ended(call)
        yield from self._run_rest([call for call in self.calls if call.outcome is None and call.request is None])
        own = [call.request for call in self.calls if call.request]
        return own + self.waiting

    def results(self) -> dict[int, Item]:
        """What the model is told, by number. The calls are recorded for the conversation's run events, too."""
        results = dict(self.answers)
        for call in self.calls:
            outcome = call.outcome or Outcome("")
            output = outcome.output
            self.turn.keep(outcome.sources, outcome.attachments)
            results[call.number] = items.output_of(call.item, output)
            arguments = items.as_object(call.item["arguments"])
            self.turn.record("tool_call", name=call.name, call_arguments=arguments, **call.fields)
            self.turn.record("tool_result", name=call.name, call_output=items.as_object(output), **call.fields)
        return results

    # ------------------------------------------------------------- before a call

    def _decide(self, call: Call) -> None:
        """Set the call's outcome if it is known, or its request if a person has to decide. Otherwise it may run."""
        step, tool = call.step, call.tool
        decision = self._decision(call.number, call.name, call.arguments)
        if step and step.is_finished:
            call.outcome = Outcome(**(step.output or {}))
            self._count(call)
        elif tool is None or call.fault:
            self._settle(call, call.fault or outcomes.unknown(call.name))
        elif step and not tool.repeatable:
            self._decide_on_cut(call, tool, step, decision)
        elif decision or approvals.needed(tool, call.arguments, self.turn.ruled_tools):
            self._apply(call, decision, "tool")  # what was decided holds even if nobody would be asked any more

    def _decision(self, number: int, name: str, arguments: dict[str, Any]) -> Decision | None:
        """What a person has decided about this call."""
        decision = self.turn.request.decisions.get((self.scope, number))
        return decision if decision and decision.is_about(name, arguments) else None

    def _decide_on_cut(self, call: Call, tool: Tool, step: Step, decision: Decision | None) -> None:
        if tool.when_cut == "model":
            self._settle(call, outcomes.cut(tool))
            return
        if decision and step.began_at and decision.decided_at and decision.decided_at < step.began_at:
            decision = None
        self._apply(call, decision, "cut")

    def _apply(self, call: Call, decision: Decision | None, reason: Literal["tool", "cut"]) -> None:
        if decision is None:
            call_id, parameters = call.item["call_id"], call.tool.parameters if call.tool else None
            call.request = ApprovalRequest(
                call.number, call_id, call.name, call.arguments, reason, self.scope, parameters
            )
        elif decision.verdict != "approved":
            self._settle(call, outcomes.refused(call.name, decision))
        elif decision.arguments is not None and call.tool:
            if fault := outcomes.misfit(call.tool, decision.arguments):
                self._settle(call, fault)
            else:
                call.arguments = decision.arguments

    # ------------------------------------------------------------- running

    def _run_rest(self, calls: list[Call]) -> Generator[Event, None, None]:
        for call in calls:
            if call.tool and not call.tool.repeatable:
                self.journal.begin(self._step(call, is_finished=False))
        tasks = [Task(self._function(call), call.tool.seconds) for call in calls if call.tool]

        def keep(index: int, result: Result) -> None:
            self._keep(calls[index], result)

        for index, value in parallel.run(tasks, settings.agent_tools_at_once, self.wait, keep):
            if not isinstance(value, Result):
                yield value
            elif calls[index].outcome:
                yield from self._ended(calls[index])

    def _function(self, call: Call) -> Callable[[Emit], Outcome]:
        tool, arguments = call.tool, call.arguments
        if tool is None:
            raise ValueError(f"{call.name} cannot be called")
        request = self.turn.request
        context = ToolsContext(
            user_id=request.user_id,
            tenant_id=request.tenant_id,
            idempotency_key=self.journal.idempotency_key(self.scope, call.number),
            agent=self.turn.agent,
            label=label_of(self.scope, call.number),
        )

        def run(emit: Emit) -> Outcome:
            with tool_span(tool, call.item["call_id"]) as span:
                if call.agent:
                    outcome = self.ask(call.agent, str(arguments["input"]), call.number, emit)
                else:
                    outcome = outcomes.call_function(tool, arguments, context)
                span.set(captured.called(call.item["arguments"], outcome.output))
                if outcome.failed:
                    span.fail(outcome.failed)
                return outcome

        return run

    def _keep(self, call: Call, result: Result) -> None:
        """Journal the outcome of a call that has ended."""
        if isinstance(result.error, WaitsForApproval):
            self.waiting += result.error.requests
            return
        if isinstance(result.error, ProviderError):
            self._settle(call, outcomes.no_answer(call.name, result.error), result.seconds)
            return
        if result.error:
            raise result.error
        outcome = outcomes.timeout(call.tool) if result.is_timeout and call.tool else result.value
        self._settle(call, outcome, result.seconds)

    def _settle(self, call: Call, outcome: Outcome, seconds: float = 0.0) -> None:
        call.outcome = outcome
        metrics.tool_called(call.tool.name if call.tool else "other", outcome.failed or "ok", seconds)
        self.journal.save(replace(self._step(call), output=outcome.as_json(), seconds=seconds))
        self._count(call)

    def _count(self, call: Call) -> None:
        """The tokens of an agent that was asked are the run's, whether it was asked in this attempt or in an earlier one."""
        if call.agent:
            for usage in self.journal.usage_below(f"{self.scope}/{call.number}"):
                self.turn.add_usage(usage)

    def _step(self, call: Call, *, is_finished: bool = True) -> Step:
        return Step(
            scope=self.scope,
            number=call.number,
            kind="tool",
            name=call.name,
            call_id=call.item["call_id"],
            digest=_digest(call),
            is_finished=is_finished,
        )

    def _ended(self, call: Call) -> Generator[Event, None, None]:
        outcome = call.outcome or Outcome("")
        yield self.turn.lifecycle("tool_end", payload=outcome.payload, **call.fields)
        payload = {"output": outcome.output}
        yield self.turn.run_item("tool_output", "tool_call_output_item", payload=payload, **call.fields)


def _digest(call: Call) -> str:
    return digest([call.name, call.item["arguments"]])
