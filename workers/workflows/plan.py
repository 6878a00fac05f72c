"""What comes next in a workflow run. It depends on nothing but the declaration, the question and the steps so far."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from models.platform.json import encode, storable_value
from models.workflows.step import SKIPPED, SUCCEEDED, WorkflowStep
from workers.workflows.declarations import Stage, Step, StepResult, Workflow

log = logging.getLogger(__name__)


class WorkflowFailed(Exception):
    """The run cannot go on. `code` is stable, `message` is for people. `usage`: tokens that the failed step has used."""

    def __init__(self, code: str, message: str, usage: dict[str, int] | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.usage = code, message, usage


class NewStep(NamedTuple):
    """`branch`: its index in a parallel stage. `input`: what its agent is told, as JSON."""

    step: Step
    stage: int
    stage_name: str
    branch: int | None
    is_skipped: bool
    input: Any


@dataclass(slots=True)
class Plan:
    """`new`: steps to add, in order. If `is_done`, none of them is to be done, and `output` is the output of the run."""

    new: list[NewStep] = field(default_factory=list)
    is_done: bool = False
    output: Any = None


def plan(workflow: Workflow, question: Callable[[], str], steps: list[WorkflowStep]) -> Plan:
    """`question()` returns the message that began the run. `steps`: those so far, in order. WorkflowFailed."""
    if any(step.state not in (SUCCEEDED, SKIPPED) for step in steps):
        return Plan()
    return _Planner(workflow, question, steps).plan()


def declared(workflow: Workflow, step: WorkflowStep) -> Step:
    """The declaration of a step. WorkflowFailed if a deploy has changed the workflow since the step was added."""
    stages = workflow.all_stages
    if step.stage < len(stages):
        for candidate in stages[step.stage].steps:
            if (candidate.name, candidate.agent) == (step.name, step.agent):
                return candidate
    raise WorkflowFailed("workflow_changed", "The workflow was changed while the run was active.")


class _Planner:
    def __init__(self, workflow: Workflow, question: Callable[[], str], steps: list[WorkflowStep]) -> None:
        self.stages, self.question, self.steps = workflow.all_stages, question, steps
        for step in steps:
            declared(workflow, step)
        self.results = [
            StepResult(step.name, step.agent, step.output_text or "", step.output_structured, step.output)
            for step in steps
            if step.state == SUCCEEDED
        ]
        self.new: list[NewStep] = []

    def plan(self) -> Plan:
        value, first = self._value(), self.steps[-1].stage if self.steps else 0
        for index in range(first, len(self.stages)):
            begun = sum(step.stage == index for step in self.steps)
            if self._add_stage(index, begun, value):
                return Plan(self.new)
        return Plan(self.new, is_done=True, output=value if self.results else None)

    def _value(self) -> Any:
        """The current input: the output of the last stage that has one, else the question."""
        for index in range(len(self.stages) - 1, -1, -1):
            done = [step for step in self.steps if step.stage == index and step.state == SUCCEEDED]
            if done:
                return self._output(self.stages[index], [step.output for step in done])
        return self.question()

    def _output(self, stage: Stage, outputs: list[Any]) -> Any:
        if not stage.is_parallel:
            return outputs[-1]
        if stage.reducer:
            return _call(f"The reducer of stage {stage.name}", "reducer_failed", stage.reducer, outputs)
        return outputs[0] if len(outputs) == 1 else outputs

    def _add_stage(self, index: int, begun: int, value: Any) -> bool:
        """Add the steps of a stage that can begin now. Returns whether one is to be done."""
        stage = self.stages[index]
        if stage.is_parallel:
            added = (
                [self._add(index, branch, step, value) for branch, step in enumerate(stage.steps)] if not begun else []
            )
            return any(added)
        return any(self._add(index, None, step, value) for step in stage.steps[begun:])

    def _add(self, index: int, branch: int | None, step: Step, value: Any) -> bool:
        """Add one step. Returns whether it is to be done, rather than skipped."""
        is_due = step.guard is None or bool(
            _call(f"The guard of step {step.name}", "guard_failed", step.guard, value, self.results)
        )
        told = value
        if is_due and step.input_mapper:
            what = f"The input mapper of step {step.name}"
            told = _call(what, "input_mapper_failed", step.input_mapper, value, self.results)
        self.new.append(NewStep(step, index, self.stages[index].name, branch, not is_due, told))
        return is_due


def _call(what: str, code: str, function: Callable[..., Any], *args: Any) -> Any:
    """What a function of the declaration returns. WorkflowFailed if it raises, or that is not JSON."""
    try:
        value = function(*args)
        encode(value)  # raises for what is no JSON
        return storable_value(value)
    except Exception:  # the log has the details; clients get none of our code's
        log.exception("workflow.function_failed", extra={"code": code, "function": function.__qualname__})
        raise WorkflowFailed(code, f"{what} failed.") from None
