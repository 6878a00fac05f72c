"""What a workflow is: stages of steps, each of which an agent does."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal, NamedTuple


class StepResult(NamedTuple):
    """A step that has succeeded, as guards and mappers see it. `output`: the structured output, else the text."""

    name: str
    agent: str
    text: str
    structured: Any
    output: Any


# These run inside the transaction that ends a step, so they must be quick, and the same arguments must give the same result.
Guard = Callable[[Any, list[StepResult]], bool]  # (current input, steps so far) -> whether the step is done
InputMapper = Callable[[Any, list[StepResult]], Any]  # (current input, steps so far) -> what the agent is told
Reducer = Callable[[list[Any]], Any]  # outputs of the branches, in order -> input of the next stage
Schema = dict[str, Any]  # a JSON schema


@dataclass(frozen=True, slots=True)
class Step:
    """One task for one agent.

    guard          False skips the step; the input is passed on
    input_mapper   what the agent is told; without one, the current input
    output_schema  of the output. An agent that has no schema of its own is asked for this one
    max_turns      model responses that the agent may take
    """

    name: str
    agent: str
    _: KW_ONLY
    guard: Guard | None = None
    input_mapper: InputMapper | None = None
    output_schema: Schema | None = None
    max_turns: int | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """Steps that are done one after the other, or at the same time (then each is a branch).

    Each step of a sequential stage gets the output of the one before. All branches get the same input. The reducer makes
    one value of their outputs; without one, a single output is passed on as it is, and several as a list.
    """

    name: str
    steps: tuple[Step, ...]
    _: KW_ONLY
    mode: Literal["sequential", "parallel"] = "sequential"
    reducer: Reducer | None = None

    @property
    def is_parallel(self) -> bool:
        return self.mode == "parallel"


@dataclass(frozen=True, slots=True)
class Workflow:
    """`stages`, or just `steps`: then there is one sequential stage, `stage-1`. `allow_handoff_agents`: whether its steps
    may name agents that hand the conversation to others. `default` is only shown."""

    key: str
    display_name: str
    description: str
    _: KW_ONLY
    stages: tuple[Stage, ...] = ()
    steps: tuple[Step, ...] = ()
    output_schema: Schema | None = None
    allow_handoff_agents: bool = False
    default: bool = False

    @property
    def all_stages(self) -> tuple[Stage, ...]:
        return self.stages or (Stage("stage-1", self.steps),)

    @property
    def step_count(self) -> int:
        return sum(len(stage.steps) for stage in self.all_stages)
