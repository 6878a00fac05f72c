"""The journal of a run while an agent works: what is taken from it, and what is written to it. See docs/journal.md."""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID, uuid4, uuid5

from models.jobs.ledger import Job
from models.platform.database import release
from models.platform.json import encode_sorted
from models.runs import progress, steps
from models.runs.steps import Step

log = logging.getLogger(__name__)
Event = dict[str, Any]
IDENTITY = ("kind", "event", "run_item_name", "tool_call_id", "agent", "new_agent")  # of an event that is not a text


class Journal:
    """The steps of one run, kept in memory. `found`: those of earlier attempts. `sent`: the events on the run's stream
    since the last response among them."""

    def __init__(
        self, found: Iterable[Step] = (), sent: Iterable[Event] = (), *, scope: str = "", run_id: UUID | None = None
    ) -> None:
        self.scope, self.run_id = scope, run_id or uuid4()
        self.steps = {(step.scope, step.number): step for step in found}
        own = [step for step in self.steps.values() if step.scope == scope and step.kind == "response"]
        self.last_response = max((step.number for step in own), default=0)
        self.is_replaying = bool(self.steps) or bool(sent)
        self.has_passed_responses = not self.last_response
        self.sent = Counter(_identity(event) for event in sent)

    def find(self, scope: str, number: int, digest: str) -> Step | None:
        """The step, if an earlier attempt has it. The journal stands, even if something else would be sent today."""
        step = self.steps.get((scope, number))
        if step and step.digest != digest:
            log.warning("run.replay_differs", extra={"run_id": str(self.run_id), "scope": scope, "step": number})
        return step

    def save(self, step: Step) -> None:
        """Keep a step before the loop goes on."""
        self.steps[step.scope, step.number] = step

    def begin(self, step: Step) -> None:
        """Keep a call that begins, and may not be made again if it is cut."""
        self.steps[step.scope, step.number] = step

    def idempotency_key(self, scope: str, number: int) -> str:
        """The same for a call whenever it is made: a UUID."""
        return str(uuid5(self.run_id, f"{scope}:{number}"))

    # ------------------------------------------------------------- events of earlier attempts

    def replayed(self, scope: str, number: int) -> None:
        """A response was taken from the journal."""
        self.has_passed_responses = self.has_passed_responses or (scope, number) == (self.scope, self.last_response)

    def is_live(self, scope: str) -> None:
        """A response is not in the journal, so from now on nothing is repeated."""
        self.is_replaying = self.is_replaying and scope != self.scope

    def usage_below(self, scope: str) -> list[dict[str, int]]:
        """The usage of each response of the agent that was asked under this scope, and of those that it asked."""
        below = [step for step in self.steps.values() if step.scope == scope or step.scope.startswith(f"{scope}/")]
        return [step.usage or {} for step in below if step.kind == "response"]

    def was_sent(self, event: Event) -> bool:
        """Whether an earlier attempt has sent this event. All events up to the last response's end were sent before it
        was journaled; later ones are looked up."""
        if not self.has_passed_responses:
            return True
        identity = _identity(event)
        found = self.sent[identity] > 0
        self.sent[identity] -= found
        return found


class RunJournal(Journal):
    """The journal of a job's run, in Postgres. `void_from`: the first sequence number whose text is void, if any is."""

    def __init__(self, job: Job, found: list[Step], sent: list[Event], scope: str, void_from: int | None) -> None:
        if job.run_id is None:
            raise ValueError("the job has no run")
        super().__init__(found, sent, scope=scope, run_id=job.run_id)
        self.job, self.void_from = job, void_from

    @classmethod
    def open(cls, job: Job, scope: str = "", is_own: Callable[[Event], bool] = lambda _: True) -> "RunJournal":
        """The journal as earlier attempts left it. It is read only if there were any. `is_own`: which events of the run's
        stream are those of this job, if there are others too."""
        if job.epoch == 1 or job.run_id is None:
            return cls(job, [], [], scope, None)
        found = steps.load(job.run_id, scope)
        release()
        last = max((step.sequence or 0 for step in found if step.scope == scope), default=0)
        sent, text_from, is_lost = sent_since(job.run_id, last, is_own)
        # If the stream is lost, there may have been texts with any number.
        return cls(job, found, sent, scope, last + 1 if is_lost else text_from)

    def save(self, step: Step) -> None:
        """Write a finished step. LeaseLost if the job belongs to another worker by now."""
        steps.save(self.job, step)
        super().save(step)
        try:
            self.job.made_progress()
        finally:
            release()

    def begin(self, step: Step) -> None:
        """Write that a call begins. LeaseLost."""
        try:
            steps.begin(self.job, step)
        finally:
            release()
        super().begin(step)


def sent_since(run_id: UUID, last: int, is_own: Callable[[Event], bool]) -> tuple[list[Event], int | None, bool]:
    """What is on the run's stream after the event with the number `last`: (the job's own events, but those of responses; the
    number of its first text; whether the stream is lost, because that event is not there)."""
    events: list[Event] = []
    first = max(1, last)
    text_from, is_lost, after = None, True, first - 1
    while entries := progress.read(run_id, after):
        is_lost, after = is_lost and entries[0].sequence != first, entries[-1].sequence
        for entry in entries:
            is_response = entry.kind == b"raw_response"
            if entry.sequence <= last or (is_response and (text_from or not _has_text(entry.data))):
                continue
            event = json.loads(entry.data)
            if not is_own(event):
                continue
            if is_response:
                text_from = entry.sequence
            else:
                events.append(event)
    return events, text_from, is_lost


def _has_text(data: bytes) -> bool:
    # A long response has thousands of events. To read them all as JSON would hold up the other runs of the process.
    return b'"text_delta":null' not in data or b'"reasoning_delta":null' not in data


def digest(value: Any) -> str:
    """32 hexadecimal characters, equal for equal JSON values."""
    return hashlib.blake2b(encode_sorted(value), digest_size=16).hexdigest()


def _identity(event: Event) -> tuple[object, ...]:
    return tuple(event[name] for name in IDENTITY)
