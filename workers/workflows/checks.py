"""What is wrong with a workflow's declaration."""

import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jsonschema
from jsonschema.validators import validator_for

from workers.agents.catalog import Agent
from workers.workflows.declarations import Stage, Step, Workflow

LONGEST_NAME = 64  # characters
MODES = ("sequential", "parallel")


def faults(workflow: Workflow, agents: Mapping[str, Agent]) -> Iterator[str]:
    """A line for each fault."""
    yield from _name_faults("the key", workflow.key)
    if workflow.key == "runs":
        yield "the key `runs` is taken by a path of the API"
    if workflow.stages and workflow.steps:
        yield "has both stages and steps"
    yield from _schema_faults("the workflow", workflow.output_schema)
    for name in _repeated(stage.name for stage in workflow.all_stages):
        yield f"two stages are named {name}"
    for name in _repeated(step.name for stage in workflow.all_stages for step in stage.steps):
        yield f"two steps are named {name}"
    for stage in workflow.all_stages:
        yield from _stage_faults(workflow, stage, agents)


def _stage_faults(workflow: Workflow, stage: Stage, agents: Mapping[str, Agent]) -> Iterator[str]:
    yield from _name_faults("the name of a stage", stage.name)
    if stage.mode not in MODES:
        yield f"the stage {stage.name} has the mode {stage.mode}: use one of {', '.join(MODES)}"
    if not stage.steps:
        yield f"the stage {stage.name} has no steps"
    if stage.reducer and not stage.is_parallel:
        yield f"the stage {stage.name} has a reducer, but no branches"
    yield from _function_faults(f"the reducer of {stage.name}", stage.reducer, 1)
    for step in stage.steps:
        yield from _step_faults(workflow, step, agents)


def _step_faults(workflow: Workflow, step: Step, agents: Mapping[str, Agent]) -> Iterator[str]:
    yield from _name_faults("the name of a step", step.name)
    agent = agents.get(step.agent)
    if agent is None:
        yield f"the step {step.name} names the unknown agent {step.agent}"
    elif agent.handoffs and not workflow.allow_handoff_agents:
        yield f"the agent {step.agent} of the step {step.name} may hand off: allow_handoff_agents is not set"
    if step.max_turns is not None and not 1 <= step.max_turns <= 50:
        yield f"the step {step.name} has max_turns {step.max_turns}: use 1 to 50"
    yield from _function_faults(f"the guard of {step.name}", step.guard, 2)
    yield from _function_faults(f"the input mapper of {step.name}", step.input_mapper, 2)
    yield from _schema_faults(f"the step {step.name}", step.output_schema)


def _name_faults(what: str, name: str) -> Iterator[str]:
    if not 1 <= len(name) <= LONGEST_NAME:
        yield f"{what} has {len(name)} characters: use 1 to {LONGEST_NAME}"


def _function_faults(what: str, function: Callable[..., Any] | None, parameters: int) -> Iterator[str]:
    if function is None:
        return
    if not callable(function):
        yield f"{what} is not a function"
        return
    try:
        inspect.signature(function).bind(*range(parameters))
    except TypeError:
        yield f"{what} must take {parameters} arguments"


def _schema_faults(what: str, schema: Any) -> Iterator[str]:
    if schema is None:
        return
    try:
        validator_for(schema, jsonschema.Draft202012Validator).check_schema(schema)
    except (jsonschema.SchemaError, TypeError, AttributeError) as error:
        yield f"{what} has a malformed output schema: {getattr(error, 'message', error)}"


def _repeated(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def mismatch(value: Any, schema: dict[str, Any] | None) -> str | None:
    """Why the value does not fit the schema; None if it does, or there is no schema. The value itself is not repeated."""
    if schema is None:
        return None
    validator = validator_for(schema, jsonschema.Draft202012Validator)(schema)
    error = jsonschema.exceptions.best_match(validator.iter_errors(value))
    if error is None:
        return None
    place = "/".join(map(str, error.absolute_path)) or "the whole"
    return f"{place} does not fit `{error.validator}`"
