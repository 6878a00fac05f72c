"""The events between a workflow's steps: where its stages begin and end, and which steps are skipped.

The first job of a stage writes those before it. Each has a name by which the stream takes it only once, so that all branches
may write them, and a job that was claimed again.
"""

from typing import Any

from models.runs import events
from models.runs.run import Run
from models.runs.shared_progress import Pending
from models.workflows.step import SKIPPED, WorkflowStep


def place_of(step: WorkflowStep) -> dict[str, Any]:
    """The fields that say where an event of this step belongs."""
    return {
        "step_name": step.name,
        "step_agent": step.agent,
        "stage_name": step.stage_name,
        "parallel_group": None if step.branch is None else step.stage_name,
        "branch_index": step.branch,
    }


def before(run: Run, steps: list[WorkflowStep], step: WorkflowStep) -> list[Pending]:
    """What comes before this step. `steps`: all so far."""
    return [event for stage in range(step.stage + 1) for event in _of_stage(run, steps, stage, step)]


def at_end(run: Run, steps: list[WorkflowStep]) -> list[Pending]:
    """What comes before the terminal event of a run that has succeeded."""
    last = max((step.stage for step in steps), default=-1)
    return [event for stage in range(last + 1) for event in _of_stage(run, steps, stage, None)]


def _of_stage(run: Run, steps: list[WorkflowStep], stage: int, until: WorkflowStep | None) -> list[Pending]:
    own = [step for step in steps if step.stage == stage]
    if not own:
        return []
    skipped = [step for step in own if step.state == SKIPPED and _is_known(step, until)]
    found = [_boundary(run, "stage_start", own[0], f"start:{stage}")]
    found += [Pending(lifecycle(run, step, "step_skipped"), f"skip:{step.sequence}") for step in skipped]
    if until is None or stage < until.stage:
        found.append(_boundary(run, "stage_end", own[0], f"end:{stage}"))
    return found


def _is_known(step: WorkflowStep, until: WorkflowStep | None) -> bool:
    """Whether the skipped step was passed before `until`. The branches of a stage are all decided at its beginning."""
    return until is None or step.sequence < until.sequence or step.branch is not None


def _boundary(run: Run, label: str, step: WorkflowStep, name: str) -> Pending:
    place = {**place_of(step), "step_name": None, "step_agent": None, "branch_index": None}
    event = events.event("lifecycle", run.conversation_key, event=label, payload={"stage": step.stage})
    return Pending(events.of_workflow(event, run.agent, run.id, **place), name)


def lifecycle(run: Run, step: WorkflowStep, label: str, **payload: Any) -> dict[str, Any]:
    """A lifecycle event of a step."""
    event = events.event(
        "lifecycle",
        run.conversation_key,
        event=label,
        agent=step.agent,
        agent_used=step.agent,
        payload={"sequence": step.sequence, **payload},
    )
    return events.of_workflow(event, run.agent, run.id, **place_of(step))
