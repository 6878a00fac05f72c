"""Analysis and code side by side, then a synthesis of both."""

from typing import Any

from models.platform.json import encode
from workers.workflows.declarations import Stage, Step, StepResult, Workflow


def join_outputs(outputs: list[Any]) -> str:
    """The outputs with a line between them: texts as they are, anything else as JSON, without nulls."""
    texts = [output if isinstance(output, str) else encode(output).decode() for output in outputs if output is not None]
    return "\n\n---\n\n".join(texts)


def pass_through(value: Any, steps: list[StepResult]) -> Any:
    return value


WORKFLOW = Workflow(
    "analysis_parallel",
    "Parallel Analysis + Code",
    "A data analyst and a software engineer work on the question side by side; then their answers are combined.",
    stages=(
        Stage(
            "fanout",
            (Step("analysis", "data_analyst"), Step("code", "code_assistant")),
            mode="parallel",
            reducer=join_outputs,
        ),
        Stage("synthesis", (Step("synthesis", "code_assistant", input_mapper=pass_through),)),
    ),
)
