"""The events of one attempt at one step, on their way to the stream of the run."""

from typing import Any

from models.runs import events
from models.runs.run import Run
from models.runs.shared_progress import Pending, SharedWriter
from models.workflows.step import WorkflowStep
from workers.agents.turn import Event
from workers.event_stream import Stream
from workers.lease import Lease
from workers.workflows import boundaries


class StepStream(Stream):
    """Adds the step's place to each event. `floor`: the numbers of the events are greater than it."""

    def __init__(self, run: Run, step: WorkflowStep, lease: Lease, floor: int) -> None:
        super().__init__(lease)
        self.run, self.step = run, step
        self.writer = SharedWriter(run.id, lease.job, floor)
        self.pending: list[Pending] = []

    def begin(self, steps: list[WorkflowStep], void_from: int | None) -> None:
        """Add what comes before the step, and its beginning. `void_from`: as in EventStream."""
        self.pending += boundaries.before(self.run, steps, self.step)
        epoch = self.lease.job.epoch
        if epoch > 1:
            self.add(events.restarted(self.run.conversation_key, self.step.agent, epoch, void_from))
        self.add_lifecycle("step_start", attempt=epoch)

    def add(self, event: Event) -> None:
        place = boundaries.place_of(self.step)
        self.pending.append(Pending(events.of_workflow(event, self.run.agent, self.run.id, **place)))

    def add_lifecycle(self, label: str, **payload: Any) -> None:
        self.pending.append(Pending(boundaries.lifecycle(self.run, self.step, label, **payload)))

    def flush(self) -> None:
        if self.pending:
            batch, self.pending = self.pending, []
            self.writer.append(batch)

    def finish(self) -> int:
        self.flush()
        self.writer.wait()
        return self.writer.last_number
