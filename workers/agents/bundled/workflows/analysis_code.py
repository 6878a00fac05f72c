"""Analysis, then code."""

from typing import Any

from workers.workflows.declarations import Step, StepResult, Workflow


def previous_text(value: Any, steps: list[StepResult]) -> Any:
    """The text of the step before if there is one, else the current input."""
    return steps[-1].text if steps and steps[-1].text else value


WORKFLOW = Workflow(
    "analysis_code",
    "Analysis then Code",
    "A data analyst examines the question; then a software engineer turns the analysis into code.",
    steps=(
        Step("analysis", "data_analyst"),
        Step("code", "code_assistant", input_mapper=previous_text),
    ),
    default=True,
)
