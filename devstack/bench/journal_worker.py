"""The worker for agents, whose journal the benchmark switches off and on: off while the file BENCH_NO_JOURNAL exists."""

import os
from pathlib import Path
from typing import Any

from models.conversations import answers
from models.jobs.ledger import Job
from models.runs import steps
from models.runs.steps import Step
from workers.main import broker

__all__ = ["broker"]
OFF = Path(os.environ["BENCH_NO_JOURNAL"])
save, step_values = steps.save, answers.step_values


def save_if_on(job: Job, step: Step) -> None:
    if not OFF.exists():
        save(job, step)


def step_values_if_on(step: Step | None) -> dict[str, Any]:
    return step_values(None if OFF.exists() else step)


steps.save, answers.step_values = save_if_on, step_values_if_on
