"""The events of one attempt on their way to the run's stream."""

from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import closing

from models.runs import events, progress
from models.runs.run import Run
from workers.agents.turn import Event, TurnResult
from workers.lease import InterruptibleWait, Lease


class Stream(ABC):
    """Collects events, and writes several at a time where possible."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease

    @abstractmethod
    def add(self, event: Event) -> None: ...

    @abstractmethod
    def flush(self) -> None:
        """Start to write the pending events. Waits for the previous write, so at most one is under way."""

    @abstractmethod
    def finish(self) -> int:
        """Return when all events are written: the number of the last one. LeaseLost if the job is another worker's."""

    def add_all(self, turn: Generator[Event, None, TurnResult]) -> TurnResult:
        """Add all events of a turn and return its result."""
        with closing(turn):
            while True:
                try:
                    event = next(turn)
                except StopIteration as end:
                    result: TurnResult = end.value
                    return result
                self.add(event)

    def waiting(self) -> InterruptibleWait:
        """Entered for every wait for the model: the events so far are sent, and the wait may be interrupted."""
        self.flush()
        return self.lease.interruptible()


class EventStream(Stream):
    """Numbers the events of a run that has one job.

    `void_from`: the first number whose text the client has to drop, if this is not the first attempt.
    """

    def __init__(self, run: Run, lease: Lease, void_from: int | None = None) -> None:
        super().__init__(lease)
        self.run = run
        self.next_sequence = progress.first_sequence(lease.job.epoch)
        self.pending: list[tuple[int, str, bytes]] = []
        self.last_append: progress.Append | None = None
        if lease.job.epoch > 1:
            self.add(events.restarted(run.conversation_key, run.agent, lease.job.epoch, void_from))

    def add(self, event: Event) -> None:
        event["sequence_number"] = self.next_sequence
        self.pending.append((self.next_sequence, event["kind"], progress.encode(event)))
        self.next_sequence += 1

    def flush(self) -> None:
        if self.pending:
            entries, self.pending = self.pending, []
            self.wait_for_append()
            self.last_append = progress.append(self.run.id, entries)

    def wait_for_append(self) -> None:
        if self.last_append:
            self.last_append.wait()

    def finish(self) -> int:
        self.flush()
        self.wait_for_append()
        return self.next_sequence - 1
