"""A run's progress as one Redis stream.

Key schema (REDIS_URL; the broker lives in another database):
    run:<run id>            stream; entry id `<sequence>-0`, fields k=kind, e=the event's JSON, t=1 on the terminal entry

The entry id IS the event's `sequence_number`: (epoch - 1) * 1,000,000 + n. The epoch is the job's claim counter, so a
retried run goes on with larger numbers, and Redis itself refuses what a worker that lost its job still tries to write.
"""

import time
from collections.abc import Callable
from itertools import chain, islice
from queue import SimpleQueue
from threading import Event, Lock, Thread
from typing import Any, NamedTuple
from uuid import UUID

import redis

from models.jobs.ledger import LeaseLost
from models.platform.json import encode
from models.platform.redis import redis_client
from models.platform.settings import settings

EPOCH_SIZE = 1_000_000
LIVE_SECONDS = 24 * 3600  # no run lasts as long; its terminal event shortens this
REST_SECONDS, LONGEST_REST = 0.001, 0.01  # between two writes: per caller of the one before; altogether


class Entry(NamedTuple):
    sequence: int
    kind: bytes
    data: bytes
    terminal: bool


def stream_key(run_id: UUID | str) -> str:
    return f"run:{run_id}"


def first_sequence(epoch: int) -> int:
    """The number of the first event that the epoch-th claim may write."""
    return (epoch - 1) * EPOCH_SIZE + 1


class Batch:
    """Commands of one caller, and what Redis answered to each."""

    __slots__ = ("answers", "commands", "error", "written")

    def __init__(self, commands: list[tuple]):
        self.commands, self.written = commands, Event()
        self.answers: list[Any] = []
        self.error: Exception | None = None

    def wait(self) -> list[Any]:
        """The answers, errors of single commands among them. Raises when Redis could not be reached."""
        self.written.wait()
        if self.error is not None:
            raise self.error
        return self.answers


class Writer:
    """One thread (or greenlet) per process writes for all its callers, in the order of their calls.

    After a write it rests the longer the more callers there were, so that even more travel together under load. A
    hundred runs that stream at the same time cost a few round trips instead of a hundred; one alone hardly waits.
    """

    def __init__(self, connect: Callable[[], redis.Redis]) -> None:
        self.connect = connect
        self.queue: SimpleQueue[Batch] = SimpleQueue()
        self.starting = Lock()
        self.thread: Thread | None = None

    def send(self, commands: list[tuple]) -> Batch:
        if self.thread is None:
            self._start()
        batch = Batch(commands)
        self.queue.put(batch)
        return batch

    def _start(self) -> None:
        with self.starting:
            if self.thread is None:
                self.thread = Thread(target=self._write_forever, name="progress", daemon=True)
                self.thread.start()

    def _write_forever(self) -> None:
        while True:
            batches = [self.queue.get()]
            while not self.queue.empty():
                batches.append(self.queue.get())
            self._write(batches)
            time.sleep(min(REST_SECONDS * len(batches), LONGEST_REST))

    def _write(self, batches: list[Batch]) -> None:
        try:
            pipe = self.connect().pipeline(transaction=False)
            for command in chain.from_iterable(batch.commands for batch in batches):
                pipe.execute_command(*command)
            answers = iter(pipe.execute(raise_on_error=False))
            for batch in batches:
                batch.answers = list(islice(answers, len(batch.commands)))
        except Exception as error:  # each caller raises it
            for batch in batches:
                batch.error = error
        finally:
            for batch in batches:
                batch.written.set()


writer = Writer(redis_client)


class Writing(NamedTuple):
    """Entries on their way to a run's stream."""

    key: str
    last: int
    batch: Batch

    def wait(self) -> None:
        """Returns when they are written. LeaseLost when a newer claim has written already."""
        for answer in self.batch.wait():
            if isinstance(answer, redis.ResponseError) and "equal or smaller" in str(answer):
                _refuse_unless_repeated(self.key, self.last)
            elif isinstance(answer, Exception):
                raise answer


def append(run_id: UUID, events: list[tuple[int, str, bytes]]) -> Writing:
    """Begin to write (sequence, kind, JSON) entries, in one round trip and in the order of the calls."""
    key, last = stream_key(run_id), events[-1][0]
    commands = [("XADD", key, f"{sequence}-0", "k", kind, "e", data) for sequence, kind, data in events]
    if events[0][0] % EPOCH_SIZE == 1:
        commands.append(("EXPIRE", key, LIVE_SECONDS))
    return Writing(key, last, writer.send(commands))


def _refuse_unless_repeated(key: str, sequence: int) -> None:
    # A pipeline repeated after a broken connection meets its own entries: the newest is then of our epoch.
    newest = redis_client().xrevrange(key, count=1)
    if newest and int(newest[0][0].split(b"-")[0]) // EPOCH_SIZE != sequence // EPOCH_SIZE:
        raise LeaseLost(key)


def end(run: Any) -> None:
    """Write the run's terminal event and let the stream expire. Repeatable by anybody: the entry's id is fixed."""
    key, data = stream_key(run.id), encode(run.terminal)
    last = ("XADD", key, f"{run.terminal_sequence}-0", "k", run.terminal["kind"], "e", data, "t", b"1")
    for answer in writer.send([last, ("EXPIRE", key, settings.progress_ttl_seconds)]).wait():
        if isinstance(answer, Exception) and "equal or smaller" not in str(answer):
            raise answer


def entry(raw: tuple[bytes, dict[bytes, bytes]]) -> Entry:
    entry_id, fields = raw
    return Entry(int(entry_id[:-2]), fields[b"k"], fields[b"e"], b"t" in fields)


def read(run_id: UUID, after: int = 0, count: int = 500, within: redis.Redis | None = None) -> list[Entry]:
    """Entries with a sequence greater than `after`, oldest first."""
    return [entry(raw) for raw in (within or redis_client()).xrange(stream_key(run_id), min=f"({after}-0", count=count)]
